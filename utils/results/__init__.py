"""Records and what is drawn from them.

In: hypotheses and the records of stages. Out: results records, comparisons, tables, pictures and pages.
"""
