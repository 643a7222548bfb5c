"""Reading a source without torch: any mesh or cloud to a clean, denoised surface and its proxy meshes (DESIGN 3c)."""
