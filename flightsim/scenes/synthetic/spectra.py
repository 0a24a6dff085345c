"""Surface reflectance of every cover in the bands of Sentinel-2, with a source per row.

Values are typical band averages, engineering values all: set by knowledge of the named spectra and then against the
statistics of real Sentinel-2 tiles, not extracted from the libraries' files. The source beside a row says what it
should be compared with: "S2" published Sentinel-2 or Landsat OLI surface reflectance of the class, "splib07" R. F.
Kokaly et al., "USGS Spectral Library Version 7", Data Series 1035, 2017, "ECOSTRESS" S. K. Meerdink et
al., "The ECOSTRESS spectral library version 1.0", Remote Sensing of Environment 230, 2019. Two digits mean
something, the third does not.
"""

from __future__ import annotations

import numpy as np

from .ground import BANDS, Cover, Plane

_C = Cover
#: Growing season and healthy: B02, B03, B04, B08, B11, B12. [-]
_GREEN: dict[Cover, tuple[float, ...]] = {
    _C.CONIFER: (0.020, 0.034, 0.024, 0.210, 0.095, 0.044),  # ECOSTRESS, conifer canopies; S2 of boreal spruce
    _C.BROADLEAF: (0.022, 0.044, 0.025, 0.325, 0.150, 0.064),  # ECOSTRESS, deciduous canopies; S2 of rainforest
    _C.SHRUB: (0.038, 0.065, 0.058, 0.240, 0.190, 0.110),  # splib07, chaparral, mixed with soil
    _C.GRASS: (0.034, 0.066, 0.050, 0.330, 0.205, 0.105),  # ECOSTRESS, green grass, with litter
    _C.CROP: (0.030, 0.060, 0.038, 0.400, 0.180, 0.083),  # S2 of wheat and maize at full cover
    _C.SOIL: (0.080, 0.115, 0.150, 0.230, 0.300, 0.255),  # ECOSTRESS, loam (alfisol, mollisol)
    _C.SAND: (0.155, 0.235, 0.320, 0.400, 0.480, 0.440),  # ECOSTRESS, quartz sand (entisol); S2 of the Sahara
    _C.ROCK: (0.110, 0.140, 0.165, 0.205, 0.260, 0.230),  # ECOSTRESS, weathered granite and limestone mixed
    _C.LATERITE: (0.065, 0.110, 0.205, 0.280, 0.340, 0.260),  # splib07, hematite-rich soil; S2 of gold workings
    _C.WATER: (0.030, 0.028, 0.015, 0.007, 0.004, 0.003),  # S2 of clear lakes
    _C.TURBID_WATER: (0.070, 0.110, 0.125, 0.065, 0.008, 0.005),  # S2 of the Gironde, 200 g/m3 of sediment
    _C.MARSH: (0.030, 0.050, 0.040, 0.200, 0.105, 0.052),  # splib07, Spartina marsh with open water
    _C.MUD: (0.070, 0.090, 0.105, 0.120, 0.095, 0.065),  # S2 of wet tidal flats
    _C.ICE: (0.520, 0.540, 0.490, 0.360, 0.045, 0.040),  # splib07, melting snow and bare glacier ice
    _C.FIRN: (0.820, 0.830, 0.820, 0.740, 0.110, 0.075),  # ECOSTRESS, medium granular snow
    _C.SEA_ICE: (0.620, 0.640, 0.630, 0.540, 0.060, 0.050),  # splib07, snow-dusted ice
    _C.ROOF_BRIGHT: (0.240, 0.262, 0.280, 0.310, 0.330, 0.300),  # ECOSTRESS, galvanised and painted roofing
    _C.ROOF_DARK: (0.070, 0.077, 0.084, 0.110, 0.135, 0.130),  # ECOSTRESS, bitumen and slate roofing
    _C.ROOF_TILE: (0.078, 0.098, 0.142, 0.205, 0.240, 0.215),  # ECOSTRESS, terracotta tile
    _C.STREET: (0.078, 0.088, 0.097, 0.128, 0.155, 0.145),  # ECOSTRESS, weathered asphalt
    _C.CONCRETE: (0.145, 0.165, 0.182, 0.215, 0.250, 0.235),  # ECOSTRESS, construction concrete
    _C.CHAR: (0.030, 0.035, 0.042, 0.075, 0.145, 0.165),  # S2 of fresh burns (NBR about -0.35)
    _C.LAVA: (0.030, 0.034, 0.038, 0.046, 0.060, 0.060),  # ECOSTRESS, basalt flow, fresh
    _C.SLASH: (0.070, 0.095, 0.125, 0.210, 0.280, 0.205),  # splib07, dry wood and bared litter
    _C.TAILINGS: (0.190, 0.230, 0.265, 0.310, 0.345, 0.300),  # S2 of tailings and pit floors, engineering
    _C.SALT: (0.450, 0.500, 0.530, 0.550, 0.430, 0.300),  # splib07, halite crust with gypsum
}  # fmt: skip

#: The same after leaf fall, drying or harvest; covers not named do not change. [-]
_SENESCENT: dict[Cover, tuple[float, ...]] = {
    _C.CONIFER: (0.020, 0.030, 0.028, 0.150, 0.085, 0.045),  # S2 of spruce in late autumn; needles stay
    _C.BROADLEAF: (0.040, 0.055, 0.068, 0.150, 0.175, 0.115),  # ECOSTRESS, bark and litter seen through bare crowns
    _C.SHRUB: (0.062, 0.090, 0.115, 0.200, 0.275, 0.205),  # splib07, dry shrub with soil
    _C.GRASS: (0.070, 0.105, 0.140, 0.240, 0.320, 0.225),  # splib07, golden dry grass
    _C.CROP: (0.085, 0.120, 0.155, 0.245, 0.330, 0.265),  # S2 of stubble and ploughed loam
    _C.MARSH: (0.055, 0.078, 0.095, 0.165, 0.165, 0.105),  # splib07, dead reed
}  # fmt: skip

#: Brightness variation within the class, standard deviation relative to the mean. [-] Engineering, set so that
#: pixel-scale variance comes near that of EuroSAT chips (Helber et al. 2019) and of Sentinel-2 tiles of fields.
_VARIATION: dict[Cover, float] = {
    _C.CONIFER: 0.16, _C.BROADLEAF: 0.14, _C.SHRUB: 0.11, _C.GRASS: 0.08, _C.CROP: 0.05, _C.SOIL: 0.06, _C.SAND: 0.045,
    _C.ROCK: 0.09, _C.LATERITE: 0.09, _C.WATER: 0.05, _C.TURBID_WATER: 0.06, _C.MARSH: 0.13, _C.MUD: 0.14,
    _C.ICE: 0.045, _C.FIRN: 0.012, _C.SEA_ICE: 0.035, _C.ROOF_BRIGHT: 0.16, _C.ROOF_DARK: 0.17, _C.ROOF_TILE: 0.16,
    _C.STREET: 0.12, _C.CONCRETE: 0.11, _C.CHAR: 0.20, _C.LAVA: 0.22, _C.SLASH: 0.16, _C.TAILINGS: 0.14, _C.SALT: 0.08,
}  # fmt: skip

#: Vegetated share of the cover in the growing season: what season and vigour act on. [-] Engineering.
_VEGETATED: dict[Cover, float] = {
    _C.CONIFER: 1.0, _C.BROADLEAF: 1.0, _C.SHRUB: 1.0, _C.GRASS: 1.0, _C.CROP: 1.0, _C.MARSH: 1.0,
}  # fmt: skip

#: Fresh to settled snow on open ground. splib07 and ECOSTRESS, fine to medium snow.
SNOW = np.array([0.86, 0.87, 0.86, 0.80, 0.13, 0.085], dtype=np.float32)
#: Water at turbidity 1: a river in flood. S2, 1000 g/m3 of sediment and more.
MUDDY = np.array([0.085, 0.130, 0.170, 0.105, 0.012, 0.008], dtype=np.float32)
#: Water with some sediment or algae: green before it is brown. S2 of shelf seas and lakes in spring.
CLOUDED = np.array([0.048, 0.072, 0.044, 0.014, 0.005, 0.004], dtype=np.float32)
#: Turbidity up to which water goes from clear to clouded, and beyond which it goes brown. Engineering.
CLOUDED_AT = 0.35
#: Effect of full wetness on bare soil. Engineering, after D. B. Lobell and G. P. Asner,
#: "Moisture effects on soil reflectance", SSSAJ 66, 2002.
WET = np.array([0.62, 0.60, 0.58, 0.58, 0.50, 0.42], dtype=np.float32)
#: Shallow bottom (sand under a metre of water) by band. Engineering, after S2 of tropical lagoons.
SHALLOW = np.array([0.085, 0.105, 0.065, 0.015, 0.005, 0.004], dtype=np.float32)
#: Smoke: single-scattering reflectance at large optical thickness. Engineering, after S2 of wildfire plumes.
SMOKE = np.array([0.30, 0.29, 0.28, 0.29, 0.20, 0.14], dtype=np.float32)
#: Optical thickness of smoke relative to that at B02: Angstrom exponent 1.8 of fresh biomass smoke
#: (T. F. Eck et al., "Wavelength dependence of the optical depth of biomass burning", JGR 104, 1999).
SMOKE_THICKNESS = np.array([(0.492 / w) ** 1.8 for w in (0.492, 0.560, 0.665, 0.833, 1.610, 2.190)], dtype=np.float32)

#: Centres of the bands, B02 to B12 [um], and the Sun's irradiance on them [W m-2 um-1]
#: (ESA, Sentinel-2A product metadata, Solar_Irradiance, 2015; G. Thuillier et al., Solar Physics 214, 2003).
CENTRE_UM = np.array([0.492, 0.560, 0.665, 0.833, 1.610, 2.190])
SUN_IRRADIANCE = np.array([1959.7, 1823.2, 1512.1, 1041.6, 245.6, 85.3])
#: Emissivity of fire and fresh lava. Engineering.
_EMISSIVITY = 0.95


def glow(temperature_k: float = 1100.0) -> Plane:
    """Reflectance that a pixel wholly at a temperature adds by its own light under an overhead Sun, shape (6,). [-]

    Notes
    -----
    Planck radiance at the band's centre (the bands are narrow against the curve), times pi over the Sun's irradiance.
    M. Planck's law with CODATA 2018 constants. A pixel is rarely wholly hot, so shares of a few per mille already
    saturate B12.
    """
    h, c, k = 6.62607015e-34, 2.99792458e8, 1.380649e-23
    wave = CENTRE_UM * 1e-6
    radiance = 2.0 * h * c**2 / wave**5 / np.expm1(h * c / (wave * k * temperature_k)) * 1e-6
    return np.asarray(_EMISSIVITY * np.pi * radiance / SUN_IRRADIANCE, dtype=np.float32)


def _by_cover(rows: dict[Cover, tuple[float, ...]]) -> Plane:
    return np.array([rows.get(cover, _GREEN[cover]) for cover in Cover], dtype=np.float32)


#: Reflectance, shape (covers, bands). [-]
GREEN = _by_cover(_GREEN)
SENESCENT = _by_cover(_SENESCENT)
#: Shape (covers,). [-]
VARIATION = np.array([_VARIATION[cover] for cover in Cover], dtype=np.float32)
VEGETATED = np.array([_VEGETATED.get(cover, 0.0) for cover in Cover], dtype=np.float32)

if GREEN.shape != (len(Cover), len(BANDS)):
    raise ValueError(f"the table of spectra has shape {GREEN.shape}; it must be {(len(Cover), len(BANDS))}")
