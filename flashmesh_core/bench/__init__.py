"""`python -m flashmesh_core bench`: plain against speculative decoding in one run, interleaved mesh by mesh.

What the figures mean, and how they are taken:

tokens per pass
    Coordinates written over forward passes of the backbone, the prefill counted as one pass; 1 for plain decoding.
    Candidates share forward passes; the figure, and passes/s, count each candidate's part in one as a pass.
Face-Acc, Point-Acc
    The paper's Table 3 calls them "the average number of correctly verified tokens per draft prediction", out of the n
    tokens of a face-level and the m tokens of a point-level prediction. Sec. 7.4 counts the main token among the n
    (its 9-9 model has, at a fresh point node, "one main token and eight draft tokens"). A level makes a fresh
    prediction where its split node has just become complete: the face level where the main token begins a face, the
    point level where it begins a vertex within a face (by optimisation A not where it begins a face as well). So
    Face-Acc is the mean, over the passes whose main token begins a face, of the tokens that stand after verification,
    the main token included and at most n; Point-Acc the same over the passes whose main token begins another vertex.
    Passes that begin within a vertex reuse older predictions and count for neither. The half-edge drafter has no
    levels: its passes are sorted in the same way, and n and m are its width.
passes/s, tokens/s, faces/s
    Over the engine's seconds, from the encoding of the surface to the last token; all meshes together.
speed-up
    Plain decoding's seconds a token over the row's, mesh by mesh: median and quartiles over the meshes.
first face
    Seconds from a source in memory to its first face: sampling, encoding and the first passes; median over the meshes.
pass over products
    What the passes after the first took (drafting from the half-edge table, the backbone, verification), over
    what the same weights' matrix products alone take for the same numbers of rows, by the same kernel and in the same
    dtype, timed right after each decoding: mesh by mesh, the median. The products are the backbone's
    (all layers, between levels, the output head); those of draft heads, of attention and of slices count as overhead.
identical
    Whether every mesh is the same as plain decoding's, token for token, with the same end. Where one differs, the first
    divergence is decoded again both ways and the difference of its two highest scores is told (`NEAR_TIES`).
"""
