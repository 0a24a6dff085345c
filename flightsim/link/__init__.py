"""Link models: how many information bits a second a contact carries, and the link budget behind it."""

from .constant import Constant, ConstantConfig
from .modes import Acm, AcmConfig, Ccm, CcmConfig, RadioLink, Vcm
from .radio import RadioConfig

__all__ = ["Acm", "AcmConfig", "Ccm", "CcmConfig", "Constant", "ConstantConfig", "RadioConfig", "RadioLink", "Vcm"]
