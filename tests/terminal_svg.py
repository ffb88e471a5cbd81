"""Renders what a terminal shows, with its colours, as SVG: one panel below another, each with a caption."""
import html
import re
import unicodedata

BACKGROUND, FOREGROUND, CAPTION = "#0d1420", "#d7dee8", "#7b8796"
PALETTE = {30: "#5b6675", 31: "#ff6b6b", 32: "#7ddc8c", 33: "#f2c55c", 34: "#6ab0f3", 35: "#d58cff", 36: "#63d3e0",
           37: "#d7dee8", 90: "#7b8796"}
CELL, LINE, MARGIN, BAR = 8.4, 19, 16, 34
FONTS = "DejaVu Sans Mono, Menlo, Consolas, Noto Sans Mono CJK SC, WenQuanYi Zen Hei, monospace"


def columns(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)


def colour(codes):
    """The colour of `38;5;n` or `38;2;r;g;b`, of which the 38 was taken."""
    if codes[:1] == [2] and len(codes) >= 4:
        return "#%02x%02x%02x" % tuple(codes[1:4])
    n = codes[1] if len(codes) > 1 else 15
    if n < 16:
        return PALETTE.get(30 + n if n < 8 else 82 + n, FOREGROUND)
    if n >= 232:
        return "#" + "%02x" % (8 + 10 * (n - 232)) * 3
    level = [0, 95, 135, 175, 215, 255]
    return "#%02x%02x%02x" % (level[(n - 16) // 36], level[(n - 16) // 6 % 6], level[(n - 16) % 6])


def restyled(style, codes):
    while codes:
        code = codes.pop(0)
        if code == 0:
            style = {}
        elif code == 1:
            style = {**style, "font-weight": "bold"}
        elif code == 2:
            style = {**style, "opacity": "0.6"}
        elif code == 22:
            style = {k: v for k, v in style.items() if k not in ("font-weight", "opacity")}
        elif code in PALETTE:
            style = {**style, "fill": PALETTE[code]}
        elif code == 38:
            style = {**style, "fill": colour(codes)}
            del codes[:4 if codes[:1] == [2] else 2]
        elif code == 48:
            del codes[:4 if codes[:1] == [2] else 2]
        elif code == 39:
            style = {k: v for k, v in style.items() if k != "fill"}
    return style


def drawn(lines, top):
    """The lines of one screen as text elements from this height on."""
    style = {}
    for row, line in enumerate(lines):
        y, column = top + LINE * row + 13, 0
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            if part.startswith("\x1b"):
                style = restyled(style, [int(c or 0) for c in part[2:-1].split(";")])
                continue
            # Each word where the terminal has it, whatever font draws it.
            for word in re.finditer(r"\S+(?: \S+)*", part):
                at = column + columns(part[:word.start()])
                given = {"fill": FOREGROUND, **style, "x": f"{MARGIN + at * CELL:g}", "y": f"{y:g}",
                         "textLength": f"{columns(word[0]) * CELL:g}", "lengthAdjust": "spacingAndGlyphs"}
                attributes = " ".join(f'{name}="{value}"' for name, value in given.items())
                yield f'<text xml:space="preserve" {attributes}>{html.escape(word[0])}</text>'
            column += columns(part)


def svg(panels, title, width_in_columns):
    """`panels`: (caption, lines) each; a caption may be empty."""
    top, body = BAR + MARGIN, []
    for caption, lines in panels:
        if caption:
            body.append(f'<text x="{MARGIN}" y="{top + 13:g}" fill="#f2c55c" font-weight="bold">{html.escape(caption)}</text>')
            top += LINE + 6
        body += drawn(lines, top)
        top += LINE * len(lines) + MARGIN
    width, height = width_in_columns * CELL + 2 * MARGIN, top
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
            f'viewBox="0 0 {width:g} {height:g}" font-family="{FONTS}" font-size="14">',
            f"<title>{html.escape(title)}</title>",
            f'<rect width="100%" height="100%" rx="9" fill="{BACKGROUND}"/>']
    for i, dot in enumerate(["#ff5f57", "#febc2e", "#28c840"]):
        head.append(f'<circle cx="{MARGIN + 7 + 20 * i}" cy="{BAR / 2 + 3:g}" r="6" fill="{dot}"/>')
    head.append(f'<text x="{width / 2:g}" y="{BAR / 2 + 8:g}" text-anchor="middle" fill="{CAPTION}">{html.escape(title)}</text>')
    return "\n".join([*head, *body, "</svg>", ""])
