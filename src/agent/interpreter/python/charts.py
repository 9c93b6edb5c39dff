# This part: the data of a matplotlib figure, in the shape that E2B's clients know.


def chart(figure):
    return None
