"""The list of architecture names is data; here it is held against torchvision itself."""

from slimline.config.model_names import MODEL_NAMES, SMALL_MODELS, TORCHVISION_MODELS


def test_every_torchvision_classification_model_is_listed():
    import torchvision

    offered = set(torchvision.models.list_models(module=torchvision.models))
    missing = sorted(offered - TORCHVISION_MODELS)
    assert not missing, f"torchvision {torchvision.__version__} has models that model_names.py lacks: {missing}"


def test_small_models_do_not_hide_a_torchvision_model():
    assert not SMALL_MODELS & TORCHVISION_MODELS
    assert MODEL_NAMES == SMALL_MODELS | TORCHVISION_MODELS
