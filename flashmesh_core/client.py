"""Where the documented import of the service's client lives; see `flashmesh_core.service.client`."""

from flashmesh_core.service.client import EngineClient, EngineError, GenerationStream, normalize_address
from flashmesh_core.service.process import EngineProcess

__all__ = ["EngineClient", "EngineError", "EngineProcess", "GenerationStream", "normalize_address"]
