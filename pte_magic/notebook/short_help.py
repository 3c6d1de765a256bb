"""The short help that ``%pte`` prints when nothing is typed after it: one line for each question that it answers."""

from __future__ import annotations

SHORT_HELP = """\
Type %pte and a name. It shows the page-table entries behind that memory:
for each page, one entry says which piece of physical memory it is, and
what may be done with it. With an array a:

  %pte a              which entries are behind a, and which bits are set?
  %pte --summary a    is it in memory or in swap, and on huge pages?
  %pte --why a        why is it not on huge pages?
  %pte --map a        the same as a picture
  %pte --frames a     how many processes share each page of it? (as root)
  %pte --bits a       what does each bit of its first entry mean?
  %%pte a             what does a cell change? Its first line is this
  %%pte --faults      which line of a cell touched which memory first?
  %pte 1234 [heap]    the same for another process: pid and region
  %pte --shared a     what do forked processes share, and what is copied?
  %pte --vars         which variable has how much memory? And the rest?
  %pte --machine      how much memory has each process?

All targets and options: %pte --help
What you can see here, and what to type to see more: %pte --doctor"""
