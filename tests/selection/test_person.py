"""Whose set it is: the person most photos show, however the files are called or ordered."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lora_prep.model import Finding
from lora_prep.selection import Identity
from lora_prep.selection import person as rules
from lora_prep.selection.person import Person, distance, find_person
from tests.sample import IDENTITY, a_finding, a_judged_face, a_photo, examples
from tests.selection.people import (
    BLURRED,
    BROKEN,
    NO_FACE,
    Embedding,
    at_distance,
    embedding,
    face_of,
    photo_of,
    photos_of,
    random_person,
    renamed,
    turned,
)

COSINE = Identity("cosine", 0.4)


def find(findings: Sequence[Finding], identity: Identity = IDENTITY) -> Person:
    return find_person(findings, identity)


def showing(name: str, *embeddings: Embedding) -> Finding:
    """A photo with these faces, the first the largest."""
    faces = tuple(
        a_judged_face(400.0 - 10 * number, x=300.0 * number, embedding=vector)
        for number, vector in enumerate(embeddings)
    )
    return a_finding(name, faces=faces)


# ── the densest cluster ───────────────────────────────────────────────────────────────────────


def test_the_person_most_photos_show_is_found_and_the_others_are_strangers() -> None:
    found = find([*photos_of(1, 3), *photos_of(0, 6), photo_of(2, 0)])

    assert set(found.faces) == {f"0_{number:02d}.jpg" for number in range(6)}
    assert set(found.strangers) == {"1_00.jpg", "1_01.jpg", "1_02.jpg", "2_00.jpg"}
    assert all(near[1] <= 0.6 for near in found.faces.values())
    assert all(near[1] >= 0.9 for near in found.strangers.values())
    assert found.rivals == ()


def test_the_largest_cluster_wins_though_the_first_photos_and_the_largest_faces_are_others() -> (
    None
):
    strangers = [
        a_finding(f"0000_{number}.jpg", faces=(face_of(number, 0, 900.0),))
        for number in range(1, 6)
    ]

    assert set(find([*strangers, *photos_of(0, 3)]).faces) == {
        "0_00.jpg",
        "0_01.jpg",
        "0_02.jpg",
    }


def test_in_a_group_photo_the_persons_face_is_taken_and_not_the_largest() -> None:
    group = a_finding(
        "group.jpg",
        faces=(face_of(1, 0, 900.0), face_of(2, 0, 700.0, x=1500.0), face_of(0, 7, 400.0, x=2600)),
    )

    index, away = find([*photos_of(0, 5), group]).faces["group.jpg"]

    assert index == 2
    assert 0.2 < away < 0.4


def test_the_nearer_of_two_like_faces_in_one_photo_is_the_persons() -> None:
    sisters = showing("sisters.jpg", at_distance(0.5), at_distance(0.1))

    assert find([*photos_of(0, 5), sisters]).faces["sisters.jpg"][0] == 1


def test_a_stranger_is_told_with_the_nearest_face_and_its_distance() -> None:
    same = [showing(f"{number}.jpg", embedding(0, away=0.0)) for number in range(5)]
    crowd = showing("crowd.jpg", at_distance(1.5), at_distance(0.75), at_distance(0.9))

    found = find([*same, crowd])

    index, away = found.strangers["crowd.jpg"]
    assert (index, round(away, 6)) == (1, 0.75)


def test_the_cut_parts_the_person_from_strangers() -> None:
    same = [showing(f"{number}.jpg", embedding(0, away=0.0)) for number in range(5)]
    identity = Identity("euclidean", 0.5)

    found = find([*same, showing("near.jpg", at_distance(0.499))], identity)
    assert "near.jpg" in found.faces
    found = find([*same, showing("off.jpg", at_distance(0.501))], identity)
    assert "off.jpg" in found.strangers


def test_identical_files_count_once() -> None:
    once = photo_of(1, 0)
    copies = [replace(once, name=f"copy {number}.jpg") for number in range(9)]

    found = find([once, *copies, *photos_of(0, 3)])

    assert set(found.faces) == {"0_00.jpg", "0_01.jpg", "0_02.jpg"}
    assert len(found.strangers) == 10
    assert found.rivals == ()


def test_copies_of_the_persons_photos_are_that_person_too() -> None:
    copy = replace(photo_of(0, 1), name="copy.jpg")

    assert "copy.jpg" in find([*photos_of(0, 3), copy]).faces


def test_files_without_a_known_face_say_nothing() -> None:
    findings = [
        Finding("broken.jpg", None, (), (BROKEN,)),
        a_finding("empty.jpg", NO_FACE, faces=()),
        a_finding("blurred.jpg", faces=(face_of(0, 1, 400.0, BLURRED),)),
    ]

    assert find(findings) == Person({}, {})
    found = find([*findings, *photos_of(0, 2)])
    assert set(found.faces) == {"0_00.jpg", "0_01.jpg"}
    assert found.strangers == {}


# ── order and names do not matter ─────────────────────────────────────────────────────────────


PEOPLE = [random_person(seed, 6) for seed in range(4)]
# Group photos and copies are among them: each photo is a list of (who, which face of theirs).
crowds = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=3, unique=True),
    min_size=1,
    max_size=12,
)


def shown(contents: Sequence[Sequence[tuple[int, int]]]) -> list[Finding]:
    return [
        replace(
            showing(f"{number}.jpg", *(PEOPLE[who][which] for who, which in faces)),
            photo=a_photo(f"{number}.jpg", sha256=str(faces)),
        )
        for number, faces in enumerate(contents)
    ]


@examples(60)
@hypothesis.given(crowds, st.randoms(use_true_random=False))
def test_the_same_photos_show_the_same_person(
    contents: list[list[tuple[int, int]]], shuffler: random.Random
) -> None:
    findings = shown(contents)
    found = find(findings)
    names = [f"holiday {number}.jpg" for number in range(len(findings))]
    shuffler.shuffle(names)
    new_name = {finding.name: name for finding, name in zip(findings, names, strict=True)}
    again = renamed(findings, names)
    shuffler.shuffle(again)

    other = find(again)

    def told(person: Person, name: dict[str, str]) -> object:
        return (
            {name[one]: (index, round(away, 6)) for one, (index, away) in person.faces.items()},
            {name[one]: (index, round(away, 6)) for one, (index, away) in person.strangers.items()},
            {name[one] for one in person.doubted},
            round(person.doubt, 6),
        )

    assert told(other, {name: name for name in names}) == told(found, new_name)
    # Of identical files any may stand for a rival's photo, but there are as many.
    assert len(other.rivals) == len(found.rivals)
    # Every photo with a face is either the person's or a stranger's.
    assert set(found.faces) | set(found.strangers) == {finding.name for finding in findings}
    assert not set(found.faces) & set(found.strangers)
    assert all(near[1] <= IDENTITY.cut for near in found.faces.values())
    assert all(near[1] > IDENTITY.cut for near in found.strangers.values())


# ── two people ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("first", "second", "rivals"),
    [(10, 7, True), (10, 6, False), (20, 14, True), (20, 13, False), (5, 5, True), (13, 9, False)],
)
def test_a_second_person_in_seventy_percent_of_the_photos_is_a_rival(
    first: int, second: int, rivals: bool
) -> None:
    found = find([*photos_of(0, first), *photos_of(1, second)])

    assert len(found.rivals) == (second if rivals else 0)
    assert len(found.faces) == first
    assert not set(found.rivals) & set(found.faces)  # the rival is the other, whoever is first


def test_two_strangers_are_no_rivals() -> None:
    assert rules.RIVAL_LEAST == 2
    assert find([photo_of(0, 0), photo_of(1, 0)]).rivals == ()
    assert find([*photos_of(0, 2), photo_of(1, 0), photo_of(2, 0)]).rivals == ()
    assert len(find([*photos_of(0, 2), *photos_of(1, 2)]).rivals) == 2


def test_a_rival_is_counted_by_photos_and_not_by_faces() -> None:
    # One photo of a wall of portraits of another.
    wall = showing("wall.jpg", *(embedding(1, number) for number in range(9)))

    assert find([*photos_of(0, 10), wall]).rivals == ()


def test_copies_of_one_photo_make_no_rival() -> None:
    once = photo_of(1, 0)
    copies = [replace(once, name=f"copy {number}.jpg") for number in range(9)]

    assert find([*photos_of(0, 3), once, *copies]).rivals == ()


def test_couple_photos_make_the_other_a_rival() -> None:
    couple = [
        showing(f"{number}.jpg", embedding(0, number), embedding(1, number)) for number in range(4)
    ]

    found = find([*couple, *photos_of(0, 1)])

    assert found.rivals == ("0.jpg", "1.jpg", "2.jpg", "3.jpg")


# ── a reference ───────────────────────────────────────────────────────────────────────────────


def test_a_reference_says_who_is_meant_whoever_is_in_more_photos() -> None:
    identity = Identity("euclidean", 0.6, embedding(1, 50))

    found = find([*photos_of(0, 10), *photos_of(1, 9)], identity)

    assert set(found.faces) == {f"1_{number:02d}.jpg" for number in range(9)}
    assert len(found.strangers) == 10
    assert found.rivals == ()


def test_distances_are_to_the_reference() -> None:
    identity = Identity("euclidean", 0.6, embedding(0, away=0.0))

    found = find(
        [showing("a.jpg", at_distance(0.25)), showing("b.jpg", at_distance(0.7))], identity
    )

    assert found.faces["a.jpg"][1] == pytest.approx(0.25)
    assert found.strangers["b.jpg"][1] == pytest.approx(0.7)


def test_a_reference_nobody_is_like_leaves_strangers_only() -> None:
    found = find(photos_of(0, 4), Identity("euclidean", 0.6, embedding(3)))

    assert found.faces == {}
    assert len(found.strangers) == 4
    assert found.doubted == frozenset()


# ── metrics ───────────────────────────────────────────────────────────────────────────────────


def test_cosine_packs_compare_directions_and_not_lengths() -> None:
    near = [
        showing(f"{number}.jpg", tuple((number + 1) * value for value in turned(0.1 * number)))
        for number in range(4)
    ]
    stranger = showing("stranger.jpg", turned(1.3))

    found = find([*near, stranger], COSINE)

    assert set(found.faces) == {"0.jpg", "1.jpg", "2.jpg", "3.jpg"}
    assert found.strangers["stranger.jpg"][1] > 0.4
    # The same vectors are four people where lengths count.
    assert len(find([*near, stranger]).faces) < 4


@examples(50)
@hypothesis.given(st.integers(0, 10_000))
def test_both_ways_to_compute_a_distance_agree(seed: int) -> None:
    one, other = (random_person(seed + number, 1, 0.3)[0] for number in (0, 1))
    pair = np.array([one, other])

    for metric in ("euclidean", "cosine"):
        both = rules._distances(pair, pair, metric)
        assert both[0, 1] == pytest.approx(distance(one, other, metric), abs=1e-6)
        assert both[0, 0] == pytest.approx(0, abs=1e-6)
    assert distance(one, other, "euclidean") == pytest.approx(
        float(np.linalg.norm(pair[0] - pair[1]))
    )


def test_an_empty_direction_is_far_from_everything() -> None:
    assert distance((0.0, 0.0), (1.0, 0.0), "cosine") == 1


# ── doubt ─────────────────────────────────────────────────────────────────────────────────────


def set_with(*distances: float) -> Person:
    findings = [
        showing(f"{number}.jpg", at_distance(away)) for number, away in enumerate(distances)
    ]
    return find(findings, Identity("euclidean", 0.6, embedding(0, away=0.0)))


def test_a_face_outside_the_sets_own_spread_is_doubted_and_stays_the_persons() -> None:
    found = set_with(0.18, 0.20, 0.21, 0.22, 0.19, 0.20, 0.55)

    assert found.doubted == {"6.jpg"}
    assert "6.jpg" in found.faces
    assert 0.22 < found.doubt < 0.55


def test_a_wide_spread_doubts_nobody() -> None:
    assert set_with(0.1, 0.2, 0.3, 0.4, 0.5, 0.55).doubted == frozenset()


def test_a_set_of_nearly_one_picture_does_not_doubt_the_next_best() -> None:
    assert set_with(0.20, 0.20, 0.20, 0.20, 0.20, 0.29).doubted == frozenset()


def test_four_photos_have_no_spread_to_speak_of() -> None:
    assert rules.DOUBT_LEAST_PHOTOS == 5
    assert set_with(0.01, 0.01, 0.01, 0.59).doubted == frozenset()
    assert set_with(0.01, 0.01, 0.01, 0.01, 0.59).doubted == {"4.jpg"}


@examples(60)
@hypothesis.given(st.lists(st.floats(0, 0.6), min_size=1, max_size=20))
def test_doubt_never_begins_beyond_the_cut_nor_below_the_median(distances: list[float]) -> None:
    found = set_with(*distances)

    assert found.doubt <= 0.6
    assert len(found.doubted) <= len(distances) / 2
    assert found.doubted <= set(found.faces)
