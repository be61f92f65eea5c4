"""Verbs that use the networks of a run: each takes the arguments, returns an exit code. Heavy imports are local."""

from __future__ import annotations

import argparse
from pathlib import Path

from deft.cli.options import PRECISIONS, in_shards, ray_of, reading_side, refuse_alone, refuse_beside, with_threads
from deft.contracts import InputError


def predict(given: argparse.Namespace) -> int:
    """Masks of new photographs, of a video, or of large photographs in tiles."""
    from deft.predict.masks import predict_folder, predict_shards

    precision, side = PRECISIONS[given.precision], reading_side(given)
    shards = in_shards(given)
    if given.tiles is not None:
        return _predict_tiles(given, precision)
    if given.rate is not None or _names_video(given):
        return _predict_video(given, precision, side)
    refuse_alone(given, "a video, or --rate with a folder of frames,", "steady")
    refuse_alone(given, "--tiles", "scale", "context", "bands", "values")
    with ray_of(given) as ray, with_threads(given):
        if shards:
            done = predict_shards(
                given.run, given.images, given.out, given.tags, given.tags_from, given.overlays, precision, side, ray
            )
            print(f"masks of {done.all_shards} shards in {given.out}; made by this command: {done.images} masks")
            return 0
        count = predict_folder(given.run, Path(given.images), given.out, given.tags, precision, side, ray)
    print(f"{count} masks in {given.out / 'masks'}, pictures in {given.out / 'overlays'}")
    return 0


def _predict_tiles(given: argparse.Namespace, precision: str) -> int:
    """Masks of large photographs."""
    from deft.predict.tiled import predict_tiles
    from deft.predict.tiled_options import channels_of, tiles_of

    tiles = tiles_of(given.tiles, given.scale, given.context)
    channels = channels_of(given.bands, given.values)
    refuse_beside(given, "--tiles", "max_side", "ray_address", "steady", "rate")
    if given.engine != "here" or in_shards(given):
        raise InputError("--tiles: expected photographs on this machine; leave out --engine, and name files, no shards")
    with with_threads(given):
        count = predict_tiles(given.run, Path(given.images), given.out, given.tags, precision, tiles, channels)
    print(f"{count} masks in {given.out / 'masks'}, pictures in {given.out / 'overlays'}")
    _tell_memory()
    return 0


def _names_video(given: argparse.Namespace) -> bool:
    from deft.data.video import is_video

    return is_video(Path(given.images)) and not Path(given.images).is_dir() and not in_shards(given)


def _predict_video(given: argparse.Namespace, precision: str, side: int | None) -> int:
    """Masks of a video, or of a folder of frames."""
    from deft.predict.video import Moving, predict_video
    from deft.ranges import RangeError

    fields = {name: getattr(given, name) for name in ("steady", "rate") if getattr(given, name) is not None}
    try:
        moving = Moving(**fields)
    except RangeError as error:
        raise InputError(f"{str(error).replace('Moving.', '--', 1)}; correct it") from None
    source = Path(given.images)
    if given.rate is not None and not source.is_dir():
        raise InputError("--rate: expected a folder of frames with it; a video has its own times, leave --rate out")
    refuse_beside(given, "a video", "tags", "tags_from", "ray_address", "scale", "context", "bands", "values")
    if given.engine != "here":
        raise InputError("--engine: expected photographs, got a video, whose frames are done in order; leave it out")
    with with_threads(given):
        count = predict_video(given.run, source, given.out, precision, side, moving)
    print(f"{count} masks in {given.out / 'masks'}, a video in {given.out / 'overlays'}")
    _tell_memory()
    return 0


def _tell_memory() -> None:
    from deft.engine.memory import peak_memory

    peak = peak_memory()
    if peak is not None:
        print(f"peak memory: {peak / 1e9:.2f} GB")


def seeds(given: argparse.Namespace) -> int:
    """Class maps of new photographs."""
    from deft.predict.seeds import locate_folder, locate_shards

    precision, side = PRECISIONS[given.precision], reading_side(given)
    shards = in_shards(given)
    with ray_of(given) as ray, with_threads(given):
        if shards:
            done = locate_shards(given.run, given.images, given.out, given.tags, given.tags_from, precision, side, ray)
            print(f"seeds of {done.all_shards} shards in {given.out}; made by this command: {done.images} images")
            return 0
        count = locate_folder(given.run, Path(given.images), given.out, given.tags, precision, side, ray)
    print(f"{count} seeds in {given.out}")
    return 0


def export_model(given: argparse.Namespace) -> int:
    """Write a run's networks for other programs."""
    from deft.deploy.folder import export_model

    with with_threads(given):
        done = export_model(given.run, given.out, given.format, given.data, given.push)
    for remark in done.remarks:
        print(remark)
    for name, difference in done.files.items():
        print(f"{name}: largest difference from torch {difference:.1e}")
    print(f"exported to {given.out}" + (f", uploaded to {done.address}" if done.address else ""))
    return 0


def voc_submit(given: argparse.Namespace) -> int:
    """Write or check an archive of VOC's test server."""
    from deft.predict.voc_server import check_archive, listed_images, submit

    if (given.run is None or given.out is None) if given.check is None else (given.run or given.out):
        raise InputError("expected a run and --out ARCHIVE, or --check ARCHIVE; give one of the two")
    data = given.data or ("" if given.run is None else _data_of(given.run))
    images = listed_images(data, given.images, given.ids)
    if given.check is not None:
        check_archive(given.check, images, given.comp)
        print(f"{given.check}: {len(images)} masks, nothing the server would refuse")
        return 0
    with with_threads(given):
        count = submit(given.run, given.out, given.comp or 6, images)
    print(f"{count} masks in {given.out}")
    return 0


def _data_of(run: Path) -> str:
    """The ``--data`` of a run."""
    from deft.artifacts.record import run_record

    return str(run_record(run, "data.given")["data"]["given"])
