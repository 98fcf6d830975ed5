"""The oracle: generate runs, execute them on a store, judge every answer by the model, shrink what breaks, report."""
