"""What ``KIND:PATH`` can be: a folder, PASCAL VOC, COCO, shards."""
