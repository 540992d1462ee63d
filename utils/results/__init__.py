"""Records and what is drawn from them. Hypotheses and stage records enter; results records, comparisons, tables, pictures and pages
leave.
"""
