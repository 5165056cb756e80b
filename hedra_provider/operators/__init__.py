"""Operators: generate, upload, download."""

from hedra_provider.operators.assets import HedraDownloadOperator, HedraUploadAssetOperator
from hedra_provider.operators.avatar import HedraAvatarVideoOperator
from hedra_provider.operators.generate import HedraGenerateOperator

__all__ = [
    "HedraAvatarVideoOperator",
    "HedraDownloadOperator",
    "HedraGenerateOperator",
    "HedraUploadAssetOperator",
]
