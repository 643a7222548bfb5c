"""Reading a surface: any mesh or cloud to one oriented surface without noise, and to proxy meshes of few faces."""
