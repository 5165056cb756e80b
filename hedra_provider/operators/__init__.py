"""Operators: generate, upload, download, check credits."""

from hedra_provider.operators.assets import HedraDownloadOperator, HedraUploadAssetOperator
from hedra_provider.operators.avatar import HedraAvatarVideoOperator
from hedra_provider.operators.credits import HedraCreditsCheckOperator
from hedra_provider.operators.generate import HedraGenerateOperator

__all__ = [
    "HedraAvatarVideoOperator",
    "HedraCreditsCheckOperator",
    "HedraDownloadOperator",
    "HedraGenerateOperator",
    "HedraUploadAssetOperator",
]
