"""Writes `tests/data/cases`: small recordings of difficult kinds, and `table.json` with the expected results.

Run it from the project's root: ``python -m scripts.media_cases tests/data/cases``. All of them say the same two sentences
with a silence between them, rendered by espeak-ng. FFmpeg's encoders come with PyAV.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import soxr

from audio.pcm import to_int16
from audio.raw_pcm import RawFormat, wav_header
from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from tests.support.media import encode, packets
from tests.support.speech import say, sequence

SENTENCES: Final = ("Good morning, everyone.", "Thank you very much for your help.")
WORDS: Final = ("morning", "everyone", "thank", "you", "very", "much", "help")
GAP_SECS: Final = 1.0
LATE_SECS: Final = 2.0
COVER_BYTES: Final = 20_000
RATE: Final = SAMPLE_RATE_HZ
LOW: Final = 8_000
"""Sample rate of uncompressed and lossless files, which keeps them small."""

Case = dict[str, Any]
"""The expected result: ``words`` in order, the beginning of the second sentence, codes of ``warnings``, perhaps
``audio_track``; or ``refused``, words of the error.
"""


def speech() -> Samples:
    """``(num_samples,) float32`` at 16 kHz: both sentences, with faint noise so that silence is no digital zero."""
    spoken, _ = sequence([say(text) for text in SENTENCES], GAP_SECS)
    spoken = spoken[: -round(GAP_SECS * SAMPLE_RATE_HZ)]
    noise = np.random.default_rng(7).standard_normal(spoken.size) * 3e-4
    return np.asarray(0.8 * spoken + noise, np.float32)


def wav(samples: Samples, rate_hz: int = RATE, declared: int | None = None) -> bytes:
    """A WAV file whose header declares ``declared`` bytes of sound."""
    content = to_int16(samples).tobytes()
    header = bytearray(wav_header(RawFormat("s16le", rate_hz)))
    header[-4:] = (len(content) if declared is None else declared).to_bytes(4, "little")
    return bytes(header) + content


class Folder:
    """The folder that is written, and its table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.table: dict[str, Case] = {}
        self.voice = speech()
        self.second_secs = round((self.voice.size - say(SENTENCES[1]).size) / RATE, 2)

    def said(self, name: str, late_secs: float = 0.0, **right: Any) -> Path:
        """The path for a case in which all words are recognised. ``late_secs``: their delay relative to `speech`."""
        second = round(self.second_secs + late_secs, 2)
        self.table[name] = {"words": list(WORDS), "second_sentence_secs": second, "warnings": [], **right}
        return self.path / name

    def refused(self, name: str, words: str) -> Path:
        """The path for a case that is refused."""
        self.table[name] = {"refused": words}
        return self.path / name


def containers(to: Folder) -> None:
    """Containers of intact files."""
    kinds: tuple[tuple[str, str, str, int, int], ...] = (
        ("wma.wma", "asf", "wmav2", 22_050, 24_000),
        ("avi.avi", "avi", "libmp3lame", 22_050, 32_000),
        ("flv.flv", "flv", "libmp3lame", 22_050, 32_000),
        ("mpeg-ts.ts", "mpegts", "aac", 16_000, 24_000),
        ("ac3.ac3", "ac3", "ac3", 32_000, 64_000),
        ("mp2.mp2", "mp2", "mp2", 16_000, 32_000),
        ("book.m4b", "ipod", "aac", 16_000, 24_000),
        ("note.3gp", "3gp", "libopencore_amrnb", 8_000, 12_200),
    )
    for name, muxer, codec, rate, bit_rate in kinds:
        layout = "stereo" if codec == "wmav2" else "mono"
        encode(to.said(name), muxer, codec, rate, resampled(to.voice, rate), layout=layout, bit_rate=bit_rate)


def clocks(to: Folder) -> None:
    """Late starts and damage: following audio keeps its time."""
    late = to.said("starts_at_2s.mp4", LATE_SECS)
    encode(late, "mp4", "aac", RATE, to.voice, start_secs=LATE_SECS, bit_rate=24_000)
    middle = to.second_secs - GAP_SECS / 2
    for name, muxer, codec, rate, code in (
        ("damaged_packet.m4a", "mp4", "aac", RATE, "damaged_audio"),
        ("damaged_frames.mp3", "mp3", "libmp3lame", RATE, "damaged_audio"),
        ("damaged_frames.flac", "flac", "flac", LOW, "missing_audio"),
    ):
        path = encode(to.said(name, warnings=[code]), muxer, codec, rate, resampled(to.voice, rate), bit_rate=24_000)
        found = packets(path)
        at, size = found[round(middle / (to.voice.size / RATE) * len(found))]
        body = bytearray(path.read_bytes())
        body[at : at + size] = b"\xff" * size
        path.write_bytes(body)
    # A page of an Ogg file is a second long: those of the gap begin within the silence.
    quiet = np.concatenate(
        [to.voice[: round(middle * RATE)], np.zeros(3 * RATE, np.float32), to.voice[round(middle * RATE) :]]
    )
    page = to.said("damaged_page.opus", 3.0, warnings=["missing_audio"])
    encode(page, "ogg", "libopus", 48_000, resampled(quiet, 48_000), bit_rate=16_000)
    body = bytearray(page.read_bytes())
    starts = [at for at in range(len(body)) if body.startswith(b"OggS", at)]
    granules = [int.from_bytes(body[at + 6 : at + 14], "little") / 48_000 for at in starts]
    number = next(n for n in range(len(starts) - 1) if granules[n] > middle + 0.3)
    body[starts[number + 1] + 60] ^= 0xFF
    page.write_bytes(body)


def headers(to: Folder) -> None:
    """Tags in front, wrong headers, and joined files."""
    size = bytes(COVER_BYTES >> shift & 127 for shift in (21, 14, 7, 0))
    tag = b"ID3\x03\x00\x00" + size + (b"APIC\x89PNG" * COVER_BYTES)[:COVER_BYTES]
    for name, muxer, codec in (
        ("cover.flac", "flac", "flac"),
        ("cover.mp3", "mp3", "libmp3lame"),
        ("cover.aac", "adts", "aac"),
    ):
        path = encode(to.said(name), muxer, codec, RATE, to.voice, bit_rate=24_000)
        path.write_bytes(tag + path.read_bytes())
    low = resampled(to.voice, LOW)
    to.said("cover.wav").write_bytes(tag + wav(low, LOW))
    to.said("quarter.wav", warnings=["wrong_header"]).write_bytes(wav(low, LOW, low.size // 2))
    cut = round((to.second_secs - GAP_SECS / 2) * RATE)
    first, second = resampled(to.voice[:cut], LOW), resampled(to.voice[cut:], 11_025)
    to.said("joined_at_two_rates.wav").write_bytes(wav(first, LOW) + wav(second, 11_025))


def tracks_and_levels(to: Folder) -> None:
    """Several tracks, and channels and levels that make the words hard to recognise."""
    silent = np.zeros(to.voice.size * 3, np.float32)
    voice = resampled(to.voice, 48_000)
    for name, default in (("default_track_is_second.mkv", 1), ("speech_is_in_second_track.mka", None)):
        path = to.said(name, audio_track=1)
        encode(path, "matroska", "libopus", 48_000, silent, voice, default=default, bit_rate=16_000)
    levels: tuple[tuple[str, Callable[[Samples], Samples]], ...] = (
        ("quiet_mean_-60dB.flac", lambda x: x * np.float32(10**-3 / np.sqrt(np.mean(x**2)))),
        ("offset_30_percent.flac", lambda x: np.clip(x + np.float32(0.3), -1, 1)),
        ("clipped_by_20dB.flac", lambda x: np.clip(10 * x, -1, 1)),
    )
    low = resampled(to.voice, LOW)
    for name, change in levels:
        encode(to.said(name), "flac", "flac", LOW, np.asarray(change(low), np.float32))
    stereo = np.stack([low, -low], axis=1).astype(np.float32)
    header = wav_header(RawFormat("s16le", LOW, 2))
    to.said("right_is_inverted.wav").write_bytes(header + to_int16(stereo.reshape(-1)).tobytes())


def refusals(to: Folder) -> None:
    """Files that are not recordings, with file names of recordings."""
    to.refused("zeros.wav", "nothing but zero bytes").write_bytes(bytes(5000))
    to.refused("form.mp3", "a multipart form").write_bytes(
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + wav(to.voice[:2000])
    )
    to.refused("samples.wav", "a file of an unknown kind").write_bytes(to_int16(to.voice[8000:14_000]).tobytes())
    to.refused("picture.m4a", "a PNG image").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    path = encode(to.refused("header_only.webm", "no sound"), "webm", "libopus", 48_000, resampled(to.voice, 48_000))
    body = path.read_bytes()
    path.write_bytes(body[: body.index(b"\x1f\x43\xb6\x75")])


def resampled(samples: Samples, rate_hz: int) -> Samples:
    """``samples`` from 16 kHz to ``rate_hz``."""
    return np.asarray(soxr.resample(samples, RATE, rate_hz), np.float32)


def main(folder: Path) -> None:
    """Write all cases and their table."""
    folder.mkdir(parents=True, exist_ok=True)
    to = Folder(folder)
    for write in (containers, clocks, headers, tracks_and_levels, refusals):
        write(to)
    (folder / "table.json").write_text(json.dumps(to.table, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
