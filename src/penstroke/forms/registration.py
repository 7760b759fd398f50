"""A scan or photograph of a form, laid onto the page that the form describes.

A form that Penstroke printed has a QR code and corner markers, which give a first homography; other
forms, and pages whose marks cannot be seen, are found by the features of the blank page. Then
patches of the blank page are looked for one by one, near where they should be, and the homography
is fitted to where they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import cv2
import numpy as np
import numpy.typing as npt
import zxingcpp

from penstroke.errors import FormPageError
from penstroke.forms.description import Area, Form
from penstroke.forms.layout import (
    MARKER_CENTRE_MM,
    MARKER_MM,
    QR_BORDER,
    QR_MM,
    QR_PREFIX,
    QR_RIGHT_MM,
    QR_TOP_MM,
    qr_code,
)
from penstroke.forms.page_images import Grey, page_images, pdf_pages
from penstroke.forms.printing import pdf_of

PIXELS_PER_MM = 8
"""Of a registered page: 203 dpi."""
Homography = npt.NDArray[np.float64]
"""(3, 3): from millimetres on the page to pixels of the image."""
Points = npt.NDArray[np.float64]
"""(N, 2): x and y."""
Ink = npt.NDArray[np.float32]
"""How dark something is beside its surroundings (H, W), in 0..1."""

_QR = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
_LONGEST_CODE = 1000
"""Characters of a QR code; finer modules than those of this many are not ours."""
_DETECTION_SIDE = 1600
"""Pixels of the longer side at which markers are looked for."""
_MOST_CANDIDATES = 16
_LEAST_SIDE = 100
"""Pixels of the shorter side."""
_BLANK_CONTRAST = 12
"""Grey levels by which anything on a page has to be darker than its paper."""
_FINE = 4
"""Pixels a millimetre at which printed boxes are looked for, to a fraction of a pixel."""
_PRINT_DEPTH = 20
"""Grey levels of faint print: darker ink counts no more, or writing would outweigh the boxes."""
_SEARCH_MM = (4.0, 2.4, 1.2)
"""How far from its place a patch is looked for, in each round."""
_PATCH_MM = 16.0
"""Side of the patches of the blank page."""
_LEAST_MATCH, _LEAST_FOUND = 0.4, 0.35
"""Correlation from which a patch counts as found, and the share of them that has to be found."""
_GOOD_ERROR_MM, _GREATEST_ERROR_MM = 0.1, 0.6
"""Errors up to which no other pose is tried, and up to which a page counts as registered."""
_MOST_POSES = 12
_FEATURES, _RATIO, _LEAST_INLIERS = 4000, 0.8, 20
_FEATURE_SIDE = 1400


@dataclass(frozen=True, eq=False)
class RegisteredPage:
    """A page upright and flat, `PIXELS_PER_MM`, with (0, 0) at the paper's upper left corner.

    `image` is what was scanned, its paper made white; `error_mm` how far, typically, what is
    printed lies from where it should; `person` who it was printed for, if its QR code says so.
    """

    image: Grey
    form_page: int
    person: str | None
    error_mm: float


def register(image: Grey, form: Form) -> RegisteredPage:
    """Return a scan or photograph (H, W) of a page of `form`, registered.

    FormPageError: it is none, is cut off, blank, or cannot be registered; its `problem` says which.
    """
    _refuse_blank(image)
    found, refusal = None, None
    for pose in itertools.islice(_poses(image, form), _MOST_POSES):
        try:
            homography, error_mm = _refined(image, form, pose)
        except FormPageError as error:
            refusal = refusal or error
            continue
        if found is None or error_mm < found[2]:
            found = pose, homography, error_mm
        if error_mm < _GOOD_ERROR_MM:
            break
    if found is None:
        raise refusal or FormPageError(
            "not_this_form",
            "nothing that is printed on the form is found on it: take all of the page, sharp, and "
            "see whether it is of this form",
        )
    pose, homography, error_mm = found
    if error_mm > _GREATEST_ERROR_MM:
        raise FormPageError(
            "not_registered",
            f"what is printed lies {error_mm:.1f} mm from where it should: lay the page flat, and "
            "take all of it",
        )
    _refuse_cut_off(image, form, pose.page, homography)
    page = whitened(_rectified(image, homography, form.size_mm, PIXELS_PER_MM))
    return RegisteredPage(page, pose.page, pose.person, error_mm)


class _Pose(NamedTuple):
    """Where a page lies in an image, and which it is."""

    homography: Homography
    page: int
    person: str | None


class Code(NamedTuple):
    """A QR code of ours: its four corners in the image, clockwise from its upper left."""

    form: str
    version: str
    page: int
    person: str | None
    corners: Points


def _refuse_blank(image: Grey) -> None:
    if min(image.shape) < _LEAST_SIDE:
        raise FormPageError(
            "not_registered",
            f"it has {image.shape[1]}×{image.shape[0]} pixels, too few to read: scan it at 200 dpi",
        )
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    light = cv2.GaussianBlur(small, (0, 0), 12)
    depth = light.astype(np.int16) - small
    if np.percentile(depth, 99.9) < _BLANK_CONTRAST:
        raise FormPageError("blank_page", "nothing is printed or written on it")


def _refuse_cut_off(image: Grey, form: Form, page: int, homography: Homography) -> None:
    for field in form.on_page(page):
        corners = np.concatenate([_corners(box) for box in field.boxes])
        if _is_outside(image, _mapped(homography, corners)).any():
            raise FormPageError(
                "cut_off", f"the field {field.name} is not on the picture: take all of the page"
            )


def _is_outside(image: Grey, points: Points) -> npt.NDArray[np.bool_]:
    """Return which of `points` (N, 2) are not in `image`."""
    height, width = image.shape
    return np.asarray(((points < -2) | (points > (width + 1, height + 1))).any(axis=1))


def _poses(image: Grey, form: Form) -> Iterator[_Pose]:
    """Yield how the page may lie, the most trusted first."""
    if form.blank is None:
        codes = list(codes_on(image))
        code = _own_code(codes, form) if codes else None
        squares = _squares(image)
        if code is not None:
            for homography in _with_code(code, squares, form):
                yield _Pose(homography, code.page, code.person)
        else:
            for homography in _by_four_markers(squares, form):
                for page in range(1, form.page_count + 1):
                    yield _Pose(homography, page, None)
    else:
        code = None
    for pose in _by_features(image, form):
        if code is None:
            yield pose
        elif pose.page == code.page:
            yield pose._replace(person=code.person)


# By markers and QR code


def _own_code(codes: Sequence[Code], form: Form) -> Code:
    """Return the code of a page of `form`; FormPageError if there is none, or are several."""
    ours = [code for code in codes if code.form == form.name]
    if not ours:
        raise FormPageError("not_this_form", f"its QR code says it is of the form {codes[0].form}")
    if len(ours) > 1:
        raise FormPageError("several_pages", "it shows several pages: take one at a time")
    code = ours[0]
    if code.version != str(form.version):
        raise FormPageError(
            "not_this_form",
            f"it is of version {code.version} of the form, not of version {form.version}",
        )
    if not 1 <= code.page <= form.page_count:
        raise FormPageError("not_this_form", f"the form has no page {code.page}")
    return code


def codes_on(image: Grey) -> Iterator[Code]:
    """Yield the QR codes that Penstroke printed."""
    side = max(image.shape)
    for scale in (1.0, 0.5, 2.0) if side < 2600 else (1.0, 0.5):
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        seen = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=how))
        found = False
        for barcode in zxingcpp.read_barcodes(seen, _QR):
            parts = barcode.text.split(":")
            if (
                len(barcode.text) > _LONGEST_CODE or len(parts) not in (4, 5)
                or parts[0] != QR_PREFIX or not parts[3].isdecimal()
            ):  # fmt: skip
                continue
            found = True
            place = barcode.position
            corners = np.array([
                (corner.x, corner.y)
                for corner in (place.top_left, place.top_right, place.bottom_right,
                               place.bottom_left)
            ], float) / scale  # fmt: skip
            person = unquote(parts[4]) if len(parts) == 5 else None
            yield Code(unquote(parts[1]), parts[2], int(parts[3]), person, corners)
        if found:
            return


def _by_code(code: Code, form: Form) -> Homography:
    """Return a rough homography from the corners of a QR code, without its quiet zone."""
    modules = qr_code(form, code.page, code.person or "").symbol_size(border=0)[0]
    half = QR_MM / 2 * modules / (modules + 2 * QR_BORDER)
    x, y = form.size_mm[0] - QR_RIGHT_MM, QR_TOP_MM
    page = [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
    return _homography(np.array(page), code.corners)


class _Square(NamedTuple):
    """A dark square in an image: its middle, its area in pixels, whether it has a hole."""

    middle: tuple[float, float]
    area: float
    has_hole: bool


def _squares(image: Grey) -> list[_Square]:
    """Return what may be corner markers, the largest first."""
    scale = min(1.0, _DETECTION_SIDE / max(image.shape))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    light = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((75, 75), np.uint8))
    is_dark = (small < 0.6 * light.astype(np.float32)).astype(np.uint8)
    contours, tree = cv2.findContours(is_dark, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    found = []
    side = max(small.shape)
    for index, contour in enumerate(contours):
        area = cv2.contourArea(contour)
        if tree[0][index][3] >= 0 or not (side / 250) ** 2 < area < (side / 15) ** 2:
            continue
        (_, _), (a, b), _ = cv2.minAreaRect(contour)
        hull = cv2.contourArea(cv2.convexHull(contour))
        if min(a, b) < 0.5 * max(a, b) or area < 0.85 * hull or area < 0.68 * (a + 1) * (b + 1):
            continue
        child, holes = tree[0][index][2], 0.0
        while child >= 0:
            holes += cv2.contourArea(contours[child])
            child = tree[0][child][0]
        if holes > 0.4 * area:
            continue
        moments = cv2.moments(contour)
        middle = (moments["m10"] / moments["m00"], moments["m01"] / moments["m00"])
        found.append(_Square(
            ((middle[0] + 0.5) / scale - 0.5, (middle[1] + 0.5) / scale - 0.5),
            area / scale**2, holes > 0.02 * area,
        ))  # fmt: skip
    return sorted(found, key=lambda square: -square.area)


def _marker_places(form: Form) -> Points:
    """Return the middles of the markers in millimetres, clockwise from the one with the hole."""
    (width, height), d = form.size_mm, MARKER_CENTRE_MM
    return np.array([(d, d), (width - d, d), (width - d, height - d), (d, height - d)])


def _with_code(code: Code, squares: Sequence[_Square], form: Form) -> Iterator[Homography]:
    """Yield homographies of four markers that put the code in its place, then one of fewer."""
    place = np.array([(form.size_mm[0] - QR_RIGHT_MM, QR_TOP_MM)])
    size = np.linalg.norm(code.corners[2] - code.corners[0])
    for homography in _by_four_markers(squares, form):
        if np.linalg.norm(_mapped(homography, place)[0] - code.corners.mean(0)) < 0.15 * size:
            yield homography
    yield _with_markers(_by_code(code, form), squares, form)


def _with_markers(rough: Homography, squares: Sequence[_Square], form: Form) -> Homography:
    """Return a better homography than that of a code alone, by the markers, the nearest first."""
    places = _marker_places(form)
    width = form.size_mm[0]
    code = np.array([(width - QR_RIGHT_MM, QR_TOP_MM)])
    # The code is exact about itself; four points around it keep it in its place.
    near = code + np.array([(-6, -6), (6, -6), (6, 6), (-6, 6)])
    page, seen = near, _mapped(rough, near)
    homography = rough
    for index in (1, 0, 2, 3):
        expected = _mapped(homography, places[index : index + 1])[0]
        size = math.sqrt(abs(np.linalg.det(_jacobian(homography, places[index]))))
        reach = size * (0.15 * np.linalg.norm(places[index] - code[0]) + 4)
        likely = [
            square for square in squares
            if np.linalg.norm(np.subtract(square.middle, expected)) < reach
            and 0.4 < math.sqrt(square.area) / (size * MARKER_MM) < 2.5
        ]  # fmt: skip
        if not likely:
            continue
        best = min(likely, key=lambda square: np.linalg.norm(np.subtract(square.middle, expected)))
        page = np.concatenate([page, places[index : index + 1]])
        seen = np.concatenate([seen, [best.middle]])
        # With few points, the shape of the page is not bent more than they ask for.
        homography = _homography(page, seen) if len(page) > 5 else _similar(page, seen)
    found = len(page) - 4
    return _homography(page[4:], seen[4:]) if found == 4 else homography


def _by_four_markers(squares: Sequence[_Square], form: Form) -> Iterator[Homography]:
    """Yield homographies that put the four markers onto squares, the one with the hole first."""
    places = _marker_places(form)
    likely = squares[:_MOST_CANDIDATES]
    for first in (square for square in likely if square.has_hole):
        others = [square for square in likely if square is not first and not square.has_hole]
        for three in itertools.permutations(others, 3):
            four = np.array([first.middle, *(square.middle for square in three)])
            turns = [_turn(four[k - 2], four[k - 1], four[k]) for k in range(4)]
            if min(turns) <= 0:  # not convex, or mirrored
                continue
            homography = _homography(places, four)
            sizes = [
                math.sqrt(square.area / max(abs(np.linalg.det(_jacobian(homography, place))), 1e-9))
                for square, place in zip((first, *three), places, strict=True)
            ]
            if min(sizes) > 0.7 * MARKER_MM and max(sizes) < 1.4 * MARKER_MM:
                yield homography


def _turn(a: Points, b: Points, c: Points) -> float:
    one, two = b - a, c - b
    return float(one[0] * two[1] - one[1] * two[0])


# By the features of a blank page


class _Blank(NamedTuple):
    """A page of the empty form, at PIXELS_PER_MM, and its features in millimetres."""

    image: Grey
    places: Points
    descriptors: npt.NDArray[np.float32]


@lru_cache(maxsize=4)
def _blank_pages(form: Form) -> list[_Blank]:
    """Return the pages of the empty form; ImageError if they cannot be read."""
    if form.blank is not None:
        images = [image for _, image in page_images(Path(form.blank))]
    else:
        images = pdf_pages(pdf_of(form))
    pages = []
    for image in images:
        size = [round(PIXELS_PER_MM * side) for side in form.size_mm]
        page = whitened(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8))
        places, descriptors = _features(page)
        pages.append(_Blank(page, places / PIXELS_PER_MM, descriptors))
    return pages


def _features(image: Grey) -> tuple[Points, npt.NDArray[np.float32]]:
    scale = min(1.0, _FEATURE_SIDE / max(image.shape))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    points, descriptors = cv2.SIFT.create(_FEATURES).detectAndCompute(small, None)
    if descriptors is None:
        return np.zeros((0, 2)), np.zeros((0, 128), np.float32)
    return np.array([p.pt for p in points]) / scale, np.asarray(descriptors, np.float32)


def _by_features(image: Grey, form: Form) -> Iterator[_Pose]:
    """Yield the pose by the features of each page of the blank form, the best first."""
    points, descriptors = _features(image)
    poses: list[tuple[int, _Pose]] = []
    for number, blank in enumerate(_blank_pages(form), start=1):
        if min(len(descriptors), len(blank.descriptors)) < 2:
            continue
        pairs = cv2.BFMatcher().knnMatch(blank.descriptors, descriptors, k=2)
        good = [one for one, other in pairs if one.distance < _RATIO * other.distance]
        if len(good) < _LEAST_INLIERS:
            continue
        page = blank.places[[match.queryIdx for match in good]]
        seen = points[[match.trainIdx for match in good]]
        tolerance = 4.0 * max(image.shape) / _FEATURE_SIDE
        homography, is_inlier = cv2.findHomography(page, seen, cv2.USAC_MAGSAC, tolerance)
        count = 0 if homography is None else int(is_inlier.sum())
        if count >= _LEAST_INLIERS:
            poses.append((count, _Pose(np.asarray(homography, float), number, None)))
    for _, pose in sorted(poses, key=lambda pair: -pair[0]):
        yield pose


# The exact place


def _refined(image: Grey, form: Form, pose: _Pose) -> tuple[Homography, float]:
    """Return the homography fitted to what is printed, and the typical error in millimetres.

    FormPageError: too little of it is where it should be.
    """
    image, to_reduced = _reduced(image, pose.homography, form)
    homography, error = to_reduced @ pose.homography, math.inf
    patches = _patches(form, pose.page)
    for reach in _SEARCH_MM:
        page = _padded_ink(image, homography, form)
        places, shifts = [], []
        middles = np.array([(area.left + area.width / 2, area.top + area.height / 2)
                            for area, _ in patches])  # fmt: skip
        is_out = _is_outside(image, _mapped(homography, middles))
        seen = [patch for patch, out in zip(patches, is_out, strict=True) if not out]
        for area, template in seen:
            shift, match = _shift(page, area, template, reach)
            if match >= _LEAST_MATCH:
                places.append((area.left + area.width / 2, area.top + area.height / 2))
                shifts.append(shift)
        if len(shifts) < max(1, _LEAST_FOUND * len(seen)):
            raise FormPageError(
                "not_registered", f"only {len(shifts)} of {len(seen)} parts of what is printed "
                "are where they should be: lay the page flat, and take all of it, sharp",
            )  # fmt: skip
        found = np.array(places)
        moved = found + np.array(shifts)
        correction = _smooth_correction(found, moved, form.size_mm, reach / 2)
        homography = homography @ correction
        rest = _mapped(correction, found) - moved
        error = float(np.median(np.hypot(*rest.T)))
    return np.linalg.inv(to_reduced) @ homography, error


def _reduced(image: Grey, homography: Homography, form: Form) -> tuple[Grey, Homography]:
    """Return the image averaged to about `_FINE` pixels a millimetre, and the map of pixels."""
    middle = np.array(form.size_mm) / 2
    factor = round(math.sqrt(abs(np.linalg.det(_jacobian(homography, middle)))) / _FINE)
    if factor < 2:
        return image, np.eye(3)
    size = [max(1, side // factor) for side in image.shape[::-1]]
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    x, y = np.divide(size, image.shape[::-1])
    return small, np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])


@lru_cache(maxsize=16)
def _patches(form: Form, page: int) -> list[tuple[Area, Ink]]:
    """Return areas of the page with what is printed there."""
    scale = _FINE / PIXELS_PER_MM
    blank = cv2.resize(
        _blank_pages(form)[page - 1].image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
    printed = _ink(np.asarray(blank, np.uint8))
    width, height = (side - _PATCH_MM for side in form.size_mm)
    patches = []
    corners = [*itertools.product(np.arange(4, width, _PATCH_MM), np.arange(4, height, _PATCH_MM))]
    if form.blank is None:  # markers hold the page where nothing else is printed
        corners += [*(_marker_places(form) - _PATCH_MM / 2)]
    for left, top in corners:
        area = Area(
            left=max(float(left), 0), top=max(float(top), 0), width=_PATCH_MM, height=_PATCH_MM
        )
        corner = round(area.top * _FINE), round(area.left * _FINE)
        rows, columns = (slice(at, at + round(_PATCH_MM * _FINE)) for at in corner)
        if _is_textured(template := printed[rows, columns]):
            patches.append((area, template))
    return patches


def _is_textured(template: Ink) -> bool:
    """Return whether `template` holds its place in both directions."""
    dy, dx = np.gradient(template)
    xx, yy, xy = (dx * dx).sum(), (dy * dy).sum(), (dx * dy).sum()
    least = (xx + yy) / 2 - math.hypot((xx - yy) / 2, xy)
    return bool(least > 4)


def _padded_ink(image: Grey, homography: Homography, form: Form) -> Ink:
    """Return the ink of the page, `_FINE` pixels a millimetre, with a margin of the search."""
    page = _ink(_rectified(image, homography, form.size_mm, _FINE))
    margin = round(_SEARCH_MM[0] * _FINE)
    return np.pad(page, margin)


def _shift(
    padded: Ink, area: Area, template: Ink, reach_mm: float
) -> tuple[tuple[float, float], float]:
    """Return by how many millimetres (x, y) what is printed in `area` is off, and how sure."""
    reach, margin = round(reach_mm * _FINE), round(_SEARCH_MM[0] * _FINE)
    top = round(area.top * _FINE) + margin - reach
    left = round(area.left * _FINE) + margin - reach
    height, width = template.shape
    window = padded[top : top + height + 2 * reach, left : left + width + 2 * reach]
    if window.shape != (height + 2 * reach, width + 2 * reach) or window.std() < 1e-3:
        return (0.0, 0.0), 0.0
    match = np.asarray(cv2.matchTemplate(window, template, cv2.TM_CCOEFF_NORMED), np.float32)
    _, best, _, (x, y) = cv2.minMaxLoc(match)
    dx, dy = _peak(match[y, :], x) - reach, _peak(match[:, x], y) - reach
    return (dx / _FINE, dy / _FINE), float(best)


def _peak(values: npt.NDArray[np.float32], at: int) -> float:
    """Return where, between samples, the maximum of `values` near `at` is."""
    if not 0 < at < len(values) - 1:
        return float(at)
    before, here, after = (float(value) for value in values[at - 1 : at + 2])
    curve = before - 2 * here + after
    return at if curve >= 0 else at + 0.5 * (before - after) / curve


def _smooth_correction(
    places: Points, moved: Points, size_mm: tuple[float, float], tolerance_mm: float
) -> Homography:
    """Return the homography on the page that moves `places`, as few bends as their number allows.

    What is found wrongly is left out.
    """
    spread = np.ptp(places, axis=0) / np.array(size_mm)
    if len(places) >= 8 and spread.min() > 0.3:
        # Weighs places by how well they fit: markers far from all else are not left out (lab, 47).
        found, _ = cv2.findHomography(places, moved, cv2.USAC_MAGSAC, tolerance_mm / 2)
        if found is not None and _is_gentle(whole := np.asarray(found, float), size_mm):
            return whole
    if len(places) >= 3 and spread.max() > 0.15:
        affine, _ = cv2.estimateAffinePartial2D(places, moved, ransacReprojThreshold=tolerance_mm)
        if affine is not None and _is_gentle(whole := np.vstack([affine, (0, 0, 1)]), size_mm):
            return whole
    shift = np.median(moved - places, axis=0)
    return np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]], float)


def _is_gentle(correction: Homography, size_mm: tuple[float, float]) -> bool:
    """Return whether no corner of the page moves by more than 12 mm."""
    corners = np.array([(0, 0), (size_mm[0], 0), size_mm, (0, size_mm[1])], float)
    return bool(np.abs(_mapped(correction, corners) - corners).max() < 12)


# Pixels


def whitened(page: Grey) -> Grey:
    """Return `page` with its paper at about 250, whatever the light."""
    small = cv2.resize(page, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA)
    light = cv2.medianBlur(cv2.dilate(small, np.ones((7, 7), np.uint8)), 15)
    light = cv2.resize(cv2.GaussianBlur(light, (0, 0), 1.5), page.shape[::-1])
    return np.asarray(cv2.divide(page, light, scale=250), np.uint8)


def _ink(page: Grey) -> Ink:
    """Return what is darker than its surroundings, in 0..1; strong ink no more than print."""
    light = cv2.blur(cv2.dilate(page, np.ones((5, 5), np.uint8)), (5, 5))
    depth = np.asarray(cv2.subtract(light, page), np.uint8)
    return np.minimum(depth, _PRINT_DEPTH).astype(np.float32) / np.float32(_PRINT_DEPTH)


def _rectified(
    image: Grey, homography: Homography, size_mm: tuple[float, float], scale: float
) -> Grey:
    """Return the page, `scale` pixels a millimetre; white where the image ends."""
    size = [round(scale * side) for side in size_mm]
    to_pixels = homography @ np.diag([1 / scale, 1 / scale, 1])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(image, to_pixels, size, flags=flags, borderValue=255)
    return np.asarray(warped, np.uint8)


def _corners(box: Area) -> Points:
    return np.array([
        (box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom)
    ])  # fmt: skip


def _mapped(homography: Homography, points: Points) -> Points:
    return np.asarray(cv2.perspectiveTransform(points[None].astype(float), homography)[0], float)


def _jacobian(homography: Homography, place: Points) -> npt.NDArray[np.float64]:
    """Return the derivative (2, 2) of a homography at `place`."""
    x, y, w = homography @ np.array([place[0], place[1], 1.0])
    rows = homography[:2, :2] * w - np.outer((x, y), homography[2, :2])
    return np.asarray(rows / w**2, float)


def _homography(page: Points, seen: Points) -> Homography:
    found, _ = cv2.findHomography(page, seen)
    if found is None:
        raise FormPageError("not_registered", "its corners lie on a line")
    return np.asarray(found, float)


def _similar(page: Points, seen: Points) -> Homography:
    """Return the affine map that fits best."""
    design = np.column_stack([page, np.ones(len(page))])
    solution, *_ = np.linalg.lstsq(design, seen, rcond=None)
    return np.vstack([solution.T, (0, 0, 1)])
