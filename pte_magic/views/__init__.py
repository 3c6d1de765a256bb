"""What a person sees of entries: pictures, each with the same facts as text and as HTML; widgets where they move."""
