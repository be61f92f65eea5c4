"""The layouts that ``KIND:PATH`` can name: a folder, PASCAL VOC, COCO, exports of other tools, shards."""
