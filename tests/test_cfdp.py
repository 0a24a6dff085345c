"""CFDP class 2 in bytes against reference cases and another library's encoders; losses against their distributions."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsim import cfdp, frames
from flightsim.cfdp import Losses
from flightsim.link.loss import NEGLIGIBLE, frame_loss
from flightsim.scenario.models import Cfdp
from flightsim.transaction import Next, Transaction

from .conftest import SHARED, shared

ZONE = frames.FORMATS["TM_1115_RS5"].zone_bytes


def acknowledged(**given_):
    return Cfdp.model_validate({"class": 2, **given_})


def reference_cases():
    path = SHARED / "reference" / "cfdp_bytes.json"
    if not path.exists():
        return [pytest.param(None, id="absent")]
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return [pytest.param(c, id=c["input"]["name"]) for c in cases if c["input"]["cfdp_class"] == 2]


@pytest.mark.parametrize("case", reference_cases())
def test_class_2_cases_of_the_reference_are_exact_in_both_directions(case):
    """Source: spacepackets 0.32.0 encoders and cfdp-py handlers; tolerance: exact."""
    shared("reference/cfdp_bytes.json")
    asked, want = case["input"], case["expected"]
    settings_ = acknowledged(
        entity_id_bytes=asked["id_len"], sequence_bytes=asked["seq_len"], crc=asked["crc"],
        segment_bytes=asked["segment_len"],
    )  # fmt: skip
    size, lost = asked["file_size"], asked.get("lost_segments", [])
    sent = cfdp.class2(size, settings_, asked["src_name"], asked["dst_name"], lost)
    assert sent.first.file_data_pdus == want["n_file_data_pdus"]
    assert sent.directives.ack_pdu_bytes == want["ack_eof_pdu"] == want["ack_finished_pdu"]
    assert sent.directives.finished_pdu_bytes == want["finished_pdu"]
    assert sent.nak_requests == want.get("nak_segment_requests", 0)
    assert sent.directives.nak_pdu_bytes(sent.nak_requests) == want.get("nak_pdu", 0)
    assert sent.retransmitted_pdus == want.get("retransmitted_pdus", 0)
    for name in (
        "forward_pdu_bytes", "return_pdu_bytes", "forward_packets", "return_packets", "forward_space_packet_bytes",
        "return_space_packet_bytes",
    ):  # fmt: skip
        assert getattr(sent, name) == want[name], name
    for name, framing in want["framing"].items():
        frame = frames.FORMATS[name]
        assert frames.frames_for(sent.forward_space_packet_bytes, frame) == framing["frames"]
        assert frames.channel_symbols(sent.forward_space_packet_bytes, frame) == framing["channel_symbols"]
    if not lost:
        assert cfdp.forward_bytes(size, settings_, len(asked["src_name"])) == want["forward_space_packet_bytes"]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(("ids", "sequence", "crc"), [(1, 2, True), (2, 4, False), (8, 8, True)])
def test_directives_are_as_long_as_the_octets_of_another_encoder(ids, sequence, crc, large):
    from spacepackets.cfdp import CrcFlag, LargeFileFlag, TransmissionMode
    from spacepackets.cfdp.conf import PduConfig
    from spacepackets.cfdp.defs import ConditionCode
    from spacepackets.cfdp.pdu import AckPdu, DirectiveType, FinishedPdu, NakPdu, TransactionStatus
    from spacepackets.cfdp.pdu.finished import DeliveryCode, FileStatus, FinishedParams
    from spacepackets.util import ByteFieldGenerator

    conf = PduConfig(
        source_entity_id=ByteFieldGenerator.from_int(ids, 1), dest_entity_id=ByteFieldGenerator.from_int(ids, 2),
        transaction_seq_num=ByteFieldGenerator.from_int(sequence, 7), trans_mode=TransmissionMode.ACKNOWLEDGED,
        crc_flag=CrcFlag.WITH_CRC if crc else CrcFlag.NO_CRC,
        file_flag=LargeFileFlag.LARGE if large else LargeFileFlag.NORMAL,
    )  # fmt: skip
    sizes = cfdp.directives(2**32 if large else 5, acknowledged(entity_id_bytes=ids, sequence_bytes=sequence, crc=crc))
    ack = AckPdu(conf, DirectiveType.EOF_PDU, ConditionCode.NO_ERROR, TransactionStatus.ACTIVE)
    assert sizes.ack_pdu_bytes == len(ack.pack())
    params = FinishedParams(ConditionCode.NO_ERROR, DeliveryCode.DATA_COMPLETE, FileStatus.FILE_RETAINED)
    assert sizes.finished_pdu_bytes == len(FinishedPdu(conf, params).pack())
    for requests in (1, 2, 17):
        nak = NakPdu(conf, 0, 4000, [(100 * k, 100 * k + 50) for k in range(requests)])
        assert sizes.nak_pdu_bytes(requests) == len(nak.pack())


def test_a_nak_with_more_gaps_than_fit_becomes_several():
    sizes = cfdp.directives(2**31, acknowledged())
    limit = sizes.nak_requests_limit
    # Header without the length field's own limit: the data field of a full NAK must fit 16 bits, one more must not.
    field = sizes.nak_pdu_bytes(limit) - 8
    assert field <= 65535 < field + sizes.nak_request_bytes
    assert sizes.nak_pdus(limit) == 1
    assert sizes.nak_pdu_bytes(limit + 1) == sizes.nak_pdu_bytes(limit) + sizes.nak_pdu_bytes(1)


def test_a_lost_segment_that_is_none_is_refused_and_the_last_is_short():
    with pytest.raises(ValueError, match="has 5 segments"):
        cfdp.class2(4096, acknowledged(segment_bytes=900), "a", "b", [5])
    last = cfdp.class2(4096, acknowledged(segment_bytes=900), "a", "b", [4])
    assert last.retransmitted_pdu_bytes == last.first.last_data_pdu_bytes < last.first.full_data_pdu_bytes


# Loss ------------------------------------------------------------------------------------------------------------


def test_frame_loss_meets_the_two_measured_points_of_the_concatenated_code():
    """1e-5 at the threshold, 2e-3 codewords 0.2 dB below: MODELS section 2; the slope is rounded to 11.5, so 1 %."""
    at, below = frame_loss(np.array([0.0, -0.2]), 1e-5, 11.5)
    assert at == pytest.approx(1e-5, rel=1e-12)
    assert below == pytest.approx(2e-3, rel=0.01)


def test_frame_loss_falls_with_margin_from_all_to_none():
    margin = np.linspace(-3.0, 6.0, 400)
    loss = frame_loss(margin, 1e-5, 11.5)
    assert np.all(np.diff(loss) <= 0.0)
    assert loss[0] == 1.0
    assert loss[-1] == 0.0
    assert loss[loss > 0.0].min() >= NEGLIGIBLE
    assert frame_loss(np.nan, 1e-5, 11.5) == 0.0
    assert frame_loss(np.array([-1e-9, 0.0]), 0.0, 11.5).tolist() == [1.0, 0.0]


@given(packet=st.integers(1, 4000), zone=st.integers(1, 1200), loss=st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_loss_of_a_run_of_bytes_is_the_mean_over_where_it_begins(packet, zone, loss):
    """By trying every phase; rounding of 1200 additions, hence 1e-9."""
    phase = np.arange(zone)
    touched = (phase + packet - 1) // zone + 1
    assert float(cfdp.loss_of(packet, loss, zone)) == pytest.approx(
        float(np.mean(1.0 - (1.0 - loss) ** touched)), abs=1e-9
    )


def test_files_of_class_1_are_lost_as_often_as_the_formula_says():
    """20,000 files: five standard errors."""
    losses = Losses(3, Cfdp(), ZONE)
    keys = np.arange(20_000, dtype=np.uint64)
    chance = float(cfdp.loss_of(5000, 0.05, ZONE))
    share = losses.file_is_lost(keys, 5000, 0.05).mean()
    assert abs(share - chance) < 5 * np.sqrt(chance * (1 - chance) / 20_000)
    more = losses.file_is_lost(keys, 5000, 0.06)
    assert np.all(more >= losses.file_is_lost(keys, 5000, 0.05))  # the same draw: more loss never saves a file


# The exchange ----------------------------------------------------------------------------------------------------


def fly(exchange, loss):
    """Exchange to its end: answers, bytes forward, seconds."""
    answers, forward = [], []
    while True:
        forward.append(exchange.burst_bytes)
        answers.append(exchange.landed(loss))
        if answers[-1].then in (Next.CLOSED, Next.GIVEN_UP):
            return answers, forward


@settings(max_examples=30, deadline=None)
@given(size=st.integers(0, 20_000), crc=st.booleans())
def test_without_loss_the_exchange_costs_what_the_closed_form_says(size, crc):
    settings_ = acknowledged(crc=crc, segment_bytes=900, round_trip=0.7)
    answers, forward = fly(Transaction(size, "t/0000001", 1, Losses(1, settings_, ZONE)), 0.0)
    want = cfdp.class2(size, settings_, "t/0000001", "t/0000001")
    assert sum(forward) == want.forward_space_packet_bytes
    assert sum(a.return_bytes for a in answers) == want.return_space_packet_bytes
    assert [a.then for a in answers] == [Next.FINISHED, Next.CLOSED]
    assert answers[0].delay_s == 0.7
    assert answers[0].complete


def test_one_round_of_losses_costs_what_the_closed_form_says():
    """The draws say which segments are lost; the reference's arithmetic says what that costs."""
    settings_, size = acknowledged(segment_bytes=900), 262_144
    for key in range(200):
        losses = Losses(1, settings_, ZONE)
        exchange = Transaction(size, "t/0000001", key, losses)
        answers, forward = fly(exchange, 0.004)
        first = cfdp.class2(size, settings_, "t/0000001", "t/0000001").first
        packet = np.array([first.metadata_pdu_bytes, *[first.full_data_pdu_bytes] * 291, 0, first.eof_pdu_bytes]) + 6
        packet[292] = first.last_data_pdu_bytes + 6
        lost = np.flatnonzero(losses.pdus_lost(key, 0, np.arange(294), packet, 0.004))
        once = [a.then for a in answers] == [Next.REPEAT, Next.FINISHED, Next.CLOSED]
        if once and len(lost) and lost[0] > 0 and lost[-1] < 293:
            want = cfdp.class2(size, settings_, "t/0000001", "t/0000001", (lost - 1).tolist())
            assert sum(forward) == want.forward_space_packet_bytes
            assert sum(a.return_bytes for a in answers) == want.return_space_packet_bytes
            return
    pytest.fail("no file of 200 lost data once")


def test_the_share_sent_again_is_p_over_1_minus_p():
    """300 files of 100 segments, attempts without limit in practice; five standard errors of a geometric count."""
    settings_ = acknowledged(attempts=100, segment_bytes=1000)
    p = float(cfdp.loss_of(1022, 0.05, ZONE))  # 1000 B of data, 16 B of PDU, 6 B of packet
    again = 0
    for key in range(300):
        exchange = Transaction(100_000, "t/0000001", key, Losses(1, settings_, ZONE))
        while not exchange.complete:
            exchange.landed(0.05)
            again += exchange.burst_pdus if not exchange.complete else 0
    # Metadata and EOF are short and add 2 in 100 at most half as likely; they are in ``again``.
    p_short = float(cfdp.loss_of(40, 0.05, ZONE))
    want = 300 * (100 * p / (1 - p) + 2 * p_short / (1 - p_short))
    assert abs(again - want) < 5 * np.sqrt(300 * 100 * p / (1 - p) ** 2)


def test_a_lost_eof_costs_the_timer_and_only_the_eof():
    settings_ = acknowledged(timer=12.0)
    losses = Losses(1, settings_, ZONE)
    for key in range(3000):
        exchange = Transaction(200, "v/0000001", key, losses)
        answer = exchange.landed(0.02)
        if answer.then is Next.REPEAT and answer.return_bytes == 0:
            assert answer.delay_s == 12.0
            assert exchange.burst_pdus == 1
            assert exchange.burst_bytes == frames.class1(200, settings_, "v/0000001", "v/0000001").eof_pdu_bytes + 6
            return
    pytest.fail("no EOF of 3000 was lost")


def test_answers_that_are_lost_are_said_again_after_the_timer():
    settings_ = acknowledged(return_loss=0.5, timer=10.0, round_trip=1.0, attempts=50)
    said = [Transaction(200, "v/0000001", key, Losses(1, settings_, ZONE)).landed(0.0) for key in range(400)]
    times = np.array([(a.delay_s - 1.0) / 10.0 for a in said])
    assert np.array_equal(times, np.round(times))
    assert all(
        a.return_bytes == (1 + t) * said[int(np.argmin(times))].return_bytes for a, t in zip(said, times, strict=True)
    )
    assert abs(times.mean() - 1.0) < 5 * np.sqrt(2.0 / 400)  # geometric: mean and variance q/(1-q), q/(1-q)^2


def test_a_file_is_given_up_when_everything_is_lost_or_nobody_answers():
    answers, _ = fly(Transaction(5000, "t/0000001", 4, Losses(1, acknowledged(attempts=3), ZONE)), 1.0)
    assert [a.then for a in answers] == [Next.REPEAT] * 3 + [Next.GIVEN_UP]
    assert not any(a.complete for a in answers)
    silent = Transaction(5000, "t/0000001", 4, Losses(1, acknowledged(attempts=3, return_loss=1.0), ZONE))
    answer = silent.landed(0.0)
    assert answer.then is Next.GIVEN_UP
    assert answer.complete  # the ground has it, the spacecraft will never know


def test_expected_bytes_bound_what_the_exchange_really_sends():
    """Mean of 300 files against the closed form, which takes the short last PDU as full: within 2 %."""
    settings_ = acknowledged()
    losses = Losses(1, settings_, ZONE)
    wire = np.array([int(cfdp.forward_bytes(100_000, settings_, 9))])
    sent = [sum(fly(Transaction(100_000, "t/0000001", key, losses), 0.05)[1]) for key in range(300)]
    assert np.mean(sent) == pytest.approx(losses.expected_bytes(wire, 0.05)[0], rel=0.02)
    assert losses.expected_bytes(wire, 0.0) is wire
    assert np.all(losses.expected_bytes(wire, 1.0) == wire * 9)  # eight repetitions and no more


def test_a_timer_shorter_than_the_round_trip_is_refused():
    with pytest.raises(ValueError, match="timer must not be shorter than round_trip"):
        acknowledged(timer=1.0, round_trip=2.0)
