"""Study files that come with Tangent: those of the demo, and the template of `tangent init`."""
