"""One style for the explorer, on top of napari's dark theme."""

ACCENT = "#4f6fdc"
HINT = "#9aa3ad"
ERROR = "#ff8a80"
GOOD = "#81c784"
CAUTION = "#ffb74d"
LINE = "#3a3f47"

STYLE = f"""
QLabel {{ padding: 0; margin: 0; }}
QLabel[role="heading"] {{ font-weight: 600; font-size: 13px; color: #f0f1f2; }}
QLabel[role="hint"] {{ color: {HINT}; }}
QLabel[role="error"] {{ color: {ERROR}; }}
QLabel[role="good"] {{ color: {GOOD}; font-weight: 600; }}
QLabel[role="caution"] {{ color: {CAUTION}; font-weight: 600; }}
QLabel[role="model"] {{ font-weight: 600; font-size: 14px; }}
QLabel[role="figure"] {{ font-weight: 600; }}
QFrame[role="line"] {{ background: {LINE}; border: none; }}
QFrame[role="drop"] {{ border: 1px dashed #6a7380; border-radius: 6px; background: transparent; }}
QFrame[role="drop"][over="true"] {{ border: 1px solid {ACCENT}; background: #2c3450; }}
QPushButton {{ padding: 5px 10px; border-radius: 4px; min-height: 16px; }}
QPushButton[role="primary"] {{ background-color: {ACCENT}; color: white; font-weight: 600; }}
QPushButton[role="primary"]:hover {{ background-color: #6480e6; }}
QPushButton[role="primary"]:disabled {{ background-color: #39414d; color: #7a828c; }}
QPushButton:disabled {{ color: #6f7680; }}
QPushButton[role="segment"] {{ border-radius: 0; margin: 0; }}
QPushButton[role="segment"]:checked {{ background-color: {ACCENT}; color: white; }}
QToolButton {{ border: none; background: transparent; padding: 2px; }}
QToolButton:hover {{ background: #414851; border-radius: 3px; }}
QLineEdit, QComboBox, QSpinBox, QDoubleSpinBox {{ min-height: 20px; }}
QDoubleSpinBox {{ min-width: 0; padding: 1px 5px; }}
QTabBar {{ background: transparent; border: none; }}
QTabBar::tab {{
    background: transparent; border: none; border-bottom: 2px solid transparent;
    padding: 7px 10px 6px 10px; margin: 0; color: {HINT};
}}
QTabBar::tab:hover {{ color: #f0f1f2; background: transparent; }}
QTabBar::tab:selected {{
    background: transparent; color: #f0f1f2; border-bottom: 2px solid {ACCENT};
}}
QTabWidget::pane {{ border: none; border-top: 1px solid {LINE}; }}
QToolButton[role="menu"] {{ padding: 2px 6px; color: {HINT}; }}
QToolButton[role="menu"]:hover {{ color: #f0f1f2; }}
QToolButton[role="menu"]::menu-indicator {{ image: none; width: 0; }}
QToolButton[role="step"] {{ font-size: 18px; padding: 0 4px; }}
QScrollArea {{ border: none; background: transparent; }}
QProgressBar {{ border-radius: 3px; text-align: center; min-height: 14px; max-height: 14px; }}
QProgressBar::chunk {{ background-color: {ACCENT}; border-radius: 3px; }}
QProgressBar#explorer\\.busy {{ min-height: 3px; max-height: 3px; border: none; }}
"""
