"""Bytes on the wire, exact against the reference cases and against another library's encoders."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsim import frames
from flightsim.domain import Action
from flightsim.scenario.models import Cfdp

from .conftest import shared


def reference_cases():
    from .conftest import SHARED

    path = SHARED / "reference" / "cfdp_bytes.json"
    if not path.exists():
        return [pytest.param(None, id="absent")]
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return [pytest.param(c, id=c["input"]["name"]) for c in cases if c["input"]["cfdp_class"] == 1]


@pytest.mark.parametrize("case", reference_cases())
def test_class_1_cases_of_the_reference_are_exact(case):
    """Source: spacepackets 0.32.0 encoders and cfdp-py handlers; tolerance: exact."""
    shared("reference/cfdp_bytes.json")
    given_, want = case["input"], case["expected"]
    cfdp = Cfdp(
        entity_id_bytes=given_["id_len"], sequence_bytes=given_["seq_len"], crc=given_["crc"],
        segment_bytes=given_["segment_len"],
    )  # fmt: skip
    sent = frames.class1(given_["file_size"], cfdp, given_["src_name"], given_["dst_name"])
    assert sent.file_data_pdus == want["n_file_data_pdus"]
    assert sent.metadata_pdu_bytes == want["metadata_pdu"]
    assert sent.full_data_pdu_bytes == want["file_data_pdu_full"]
    assert sent.last_data_pdu_bytes == want["file_data_pdu_last"]
    assert sent.eof_pdu_bytes == want["eof_pdu"]
    assert sent.pdu_bytes == want["forward_pdu_bytes"]
    assert sent.packets == want["forward_packets"]
    assert sent.space_packet_bytes == want["forward_space_packet_bytes"]
    for name, framing in want["framing"].items():
        frame = frames.FORMATS[name]
        count = frames.frames_for(sent.space_packet_bytes, frame)
        assert count == framing["frames"]
        assert count * frame.cadu_bytes == framing["cadu_bytes"]
        assert frames.channel_symbols(sent.space_packet_bytes, frame) == framing["channel_symbols"]
        assert frames.fill_bytes(sent.space_packet_bytes, frame) == framing["fill_bytes"]


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(0, 5000),
    segment=st.sampled_from([64, 900, 1000]),
    ids=st.sampled_from([1, 2, 4]),
    sequence=st.sampled_from([1, 2, 4]),
    crc=st.booleans(),
)
def test_any_size_agrees_with_spacepackets_octets(size, segment, ids, sequence, crc):
    """The independent encoder packs real PDUs; the sum of their octets and packet headers must be ours."""
    from spacepackets.cfdp import ChecksumType, CrcFlag, TransmissionMode
    from spacepackets.cfdp.conf import PduConfig
    from spacepackets.cfdp.pdu import EofPdu, FileDataPdu, MetadataPdu
    from spacepackets.cfdp.pdu.file_data import FileDataParams
    from spacepackets.cfdp.pdu.metadata import MetadataParams
    from spacepackets.util import ByteFieldGenerator

    conf = PduConfig(
        source_entity_id=ByteFieldGenerator.from_int(ids, 1), dest_entity_id=ByteFieldGenerator.from_int(ids, 2),
        transaction_seq_num=ByteFieldGenerator.from_int(sequence, 7), trans_mode=TransmissionMode.UNACKNOWLEDGED,
        crc_flag=CrcFlag.WITH_CRC if crc else CrcFlag.NO_CRC,
    )  # fmt: skip
    name = frames.file_name(Action.VERDICT, 12)
    pdus = [MetadataPdu(conf, MetadataParams(False, ChecksumType.CRC_32, size, name, name))]
    for offset in range(0, size, segment):
        data = bytes(min(segment, size - offset))
        pdus.append(FileDataPdu(conf, FileDataParams(data, offset)))
    pdus.append(EofPdu(conf, bytes(4), size))
    octets = sum(len(pdu.pack()) for pdu in pdus) + 6 * len(pdus)
    cfdp = Cfdp(entity_id_bytes=ids, sequence_bytes=sequence, crc=crc, segment_bytes=segment)
    assert frames.class1(size, cfdp, name, name).space_packet_bytes == octets
    assert int(frames.wire_bytes(size, cfdp, len(name))) == octets


def test_pdus_of_a_file_above_4_gib_agree_with_spacepackets():
    """Only the first and the last segment are packed: all between them are as long as the first."""
    from spacepackets.cfdp import ChecksumType, CrcFlag, LargeFileFlag, TransmissionMode
    from spacepackets.cfdp.conf import PduConfig
    from spacepackets.cfdp.pdu import EofPdu, FileDataPdu, MetadataPdu
    from spacepackets.cfdp.pdu.file_data import FileDataParams
    from spacepackets.cfdp.pdu.metadata import MetadataParams
    from spacepackets.util import ByteFieldU8, ByteFieldU16

    size, cfdp = 2**32 + 7, Cfdp()
    conf = PduConfig(
        source_entity_id=ByteFieldU8(1), dest_entity_id=ByteFieldU8(2), transaction_seq_num=ByteFieldU16(7),
        trans_mode=TransmissionMode.UNACKNOWLEDGED, crc_flag=CrcFlag.WITH_CRC, file_flag=LargeFileFlag.LARGE,
    )  # fmt: skip
    sent = frames.class1(size, cfdp, "source", "to")
    last = size % cfdp.segment_bytes
    metadata = MetadataPdu(conf, MetadataParams(False, ChecksumType.CRC_32, size, "source", "to"))
    assert sent.metadata_pdu_bytes == len(metadata.pack())
    full = FileDataPdu(conf, FileDataParams(bytes(cfdp.segment_bytes), 0))
    assert sent.full_data_pdu_bytes == len(full.pack())
    assert sent.last_data_pdu_bytes == len(FileDataPdu(conf, FileDataParams(bytes(last), size - last)).pack())
    assert sent.eof_pdu_bytes == len(EofPdu(conf, bytes(4), size).pack())
    assert sent.file_data_pdus == size // cfdp.segment_bytes + 1


@given(
    size=st.one_of(st.integers(0, 10**6), st.integers(2**32 - 2000, 2**32 + 2000)),
    cfdp=st.builds(
        Cfdp, entity_id_bytes=st.sampled_from([1, 2, 4, 8]), sequence_bytes=st.sampled_from([1, 2, 4, 8]),
        crc=st.booleans(), segment_bytes=st.integers(16, 65000),
    ),
    name=st.text(max_size=40),
)  # fmt: skip
def test_one_file_and_many_at_once_cost_the_same(size, cfdp, name):
    one = frames.class1(size, cfdp, name, name).space_packet_bytes
    assert frames.wire_bytes([size, size], cfdp, len(name.encode())).tolist() == [one, one]


@pytest.mark.parametrize("name", sorted(frames.FORMATS))
@given(packet_bytes=st.integers(0, 10**7))
def test_frames_are_just_enough(name, packet_bytes):
    frame = frames.FORMATS[name]
    count = frames.frames_for(packet_bytes, frame)
    assert packet_bytes <= count * frame.zone_bytes < packet_bytes + frame.zone_bytes
    assert frames.air_bytes(packet_bytes, frame) == count * frame.frame_bytes
    assert packet_bytes + frames.fill_bytes(packet_bytes, frame) == count * frame.zone_bytes


def test_an_empty_file_is_metadata_and_end_of_file_only():
    sent = frames.class1(0, Cfdp(), "a", "b")
    assert (sent.packets, sent.file_data_pdus) == (2, 0)
    assert sent.pdu_bytes == sent.metadata_pdu_bytes + sent.eof_pdu_bytes


def test_wire_bytes_never_fall_with_size_and_large_files_need_wider_fields():
    sizes = np.concatenate([np.arange(0, 5000), [2**32 - 1, 2**32, 2**32 + 1]])
    wire = frames.wire_bytes(sizes, Cfdp(), 9)
    assert (np.diff(wire) >= 0).all()
    below = frames.class1(2**32 - 1, Cfdp(), "a", "b")
    above = frames.class1(2**32, Cfdp(), "a", "b")
    assert above.eof_pdu_bytes == below.eof_pdu_bytes + 4


@given(st.lists(st.integers(0, 5000), min_size=2, max_size=80), st.integers(16, 2000), st.booleans())
def test_one_file_of_many_records_never_costs_more_than_files_of_their_own(sizes, segment, crc):
    cfdp = Cfdp(segment_bytes=segment, crc=crc)
    assert frames.wire_bytes(sum(sizes), cfdp, 9) < frames.wire_bytes(sizes, cfdp, 9).sum()


def test_a_verdict_of_its_own_frame_costs_a_whole_frame():
    frame = frames.FORMATS["TM_1115_RS5"]
    wire = frames.class1(200, Cfdp(), "v/1.json", "w/1.json").space_packet_bytes
    assert wire == 286
    assert frames.frames_for(wire, frame) * frame.cadu_bytes == 1279


def test_names_have_one_length_per_kind():
    for kind in (Action.VERDICT, Action.THUMBNAIL, Action.TILE):
        assert len({len(frames.file_name(kind, serial)) for serial in (0, 9, 9_999_999)}) == 1


def test_a_name_that_does_not_fit_its_field_is_refused():
    with pytest.raises(ValueError, match="300 bytes; at most 255"):
        frames.class1(1, Cfdp(), "x" * 300, "y")


def test_a_segment_that_exceeds_a_packet_is_refused():
    wide = Cfdp.model_construct(entity_id_bytes=8, sequence_bytes=8, crc=True, segment_bytes=65530)
    with pytest.raises(ValueError, match="segment_bytes is 65530; with headers it exceeds a Space Packet"):
        frames.class1(1, wide, "a", "b")


def test_every_format_of_the_scenario_exists():
    from typing import get_args

    from flightsim.scenario.models import Radio

    assert set(get_args(Radio.model_fields["frames"].annotation)) == set(frames.FORMATS)
