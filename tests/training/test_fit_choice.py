"""Fitting the choice of vertices."""

import numpy as np
import torch

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.choice.network import ChoiceNetwork
from tests.surface.test_choice import BALLS
from training.fit_choice import WEIGHTS, answer_of, batch_of, errors, fit, own_vertices

ARTIST = Mesh(BALLS[0].vertices, BALLS[0].faces)


def test_vertices_are_owned_one_to_one_by_the_nearest():
    artist = np.array([[0.0, 0.0, 0.0], [0.01, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert own_vertices(artist, np.array([[0.002, 0.0, 0.0], [0.5, 0.0, 0.0]])).tolist() == [0, -1]


def test_ways_lead_to_the_artists_vertices():
    shifted = [Mesh(mesh.vertices + np.array([0.01, 0.0, 0.0]), mesh.faces) for mesh in BALLS]
    answer = answer_of(ARTIST, shifted)
    count = len(ARTIST.vertices)
    assert answer.own[:count].all()
    scale = answer.given.scale
    assert np.allclose(answer.ways[:count] * scale, [-0.01, 0.0, 0.0], atol=1e-4)


def test_the_network_says_the_same_in_numpy_and_in_torch():
    answers = [answer_of(ARTIST, BALLS)]
    net = fit(answers, 3, 1, seed=1)
    with torch.no_grad():
        for name in ("out", "share_out", "snap_out"):
            net.layers[name].weight.normal_(0.0, 0.1)
        odds, moves = net(batch_of(answers))
    layers = {name: array.astype(np.float32) for name, array in net.arrays().items()}
    chosen = ChoiceNetwork(layers).choose(answers[0].given)
    assert np.allclose(chosen.odds, odds.numpy(), atol=0.02)
    assert np.allclose(chosen.moves, moves.numpy(), atol=1e-3)


def test_a_few_steps_learn_something_and_always_the_same():
    answers = [answer_of(ARTIST, BALLS), answer_of(BALLS[1], BALLS)]
    weights = torch.tensor(WEIGHTS)
    before, after, again = (fit(answers, steps, 1, seed=0) for steps in (1, 60, 60))
    with torch.no_grad():
        batch = batch_of(answers)
        assert (errors(after, batch) * weights).sum() < (errors(before, batch) * weights).sum()
        assert torch.equal(after(batch)[0], again(batch)[0])
