"""The same search on a Ray cluster of three nodes on this machine, one of them killed."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from penstroke.config.settings import DataConfig, RunConfig
from penstroke.errors import StudyError
from penstroke.search.ray_engine import RayEngine
from penstroke.search.runner import SearchStatus
from penstroke.search.study import Study
from penstroke.search.workflow import SearchRequest, open_study, search
from searching import finished_search, remains, small_recipe

# Ray opens files and sockets that only the garbage collector closes.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
    ),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        warnings.simplefilter("ignore")
        import ray
        from ray.cluster_utils import Cluster

        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield cluster
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]
        # What Ray left open is collected here, not as a warning in somebody else's test.
        gc.collect()


def searched(engine: RayEngine, name: str, watch: Any = lambda _: None) -> Study:
    recipe = small_recipe()
    assert recipe.search is not None
    study = open_study(SearchRequest(recipe.run_config(), recipe.search), stem=name, name=name)
    try:
        assert search(study, engine, watch)
    finally:
        engine.close()
    return study


def test_a_dead_node_costs_its_rung_and_nothing_else(cluster: Any) -> None:
    """A node is killed while it trains; the result is that of local workers, to the same bits."""
    engine = RayEngine(3, cluster.address)
    killed: list[str] = []

    def kill_a_node(status: SearchStatus) -> None:
        if not killed and status.epochs_trained >= 5 and len(status.running) > 1:
            killed.append("node")
            cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
            cluster.add_node(num_cpus=1)

    study = searched(engine, "cluster", kill_a_node)
    assert killed
    assert remains(study) == remains(finished_search())


def test_an_address_where_no_cluster_is() -> None:
    with pytest.raises(StudyError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        RayEngine(1, "127.0.0.1:1")


def test_a_gpu_that_no_node_has(cluster: Any) -> None:
    with pytest.raises(StudyError, match=r"--gpus 0\.25: the Ray cluster at .* has 0 GPUs"):
        RayEngine(1, cluster.address, gpus=0.25)


def test_a_node_without_the_data_ends_the_search_with_the_reason(cluster: Any) -> None:
    missing = RunConfig(data=DataConfig(dataset="a-data-set-nobody-has"))
    with pytest.raises(StudyError, match=r"a Ray worker cannot load the data: .*nobody-has"):
        searched(RayEngine(1, cluster.address, configs=[missing]), "no-data")
