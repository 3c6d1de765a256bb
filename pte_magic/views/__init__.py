"""Pictures of entries, each with the same facts as text and as HTML; widgets where something moves."""
