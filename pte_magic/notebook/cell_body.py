"""`Body`: the body of a cell magic, run as IPython runs a cell, with the same output, values and exceptions."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, Any

from IPython.core.displayhook import DisplayHook

if TYPE_CHECKING:
    from types import CodeType

    from IPython.core.interactiveshell import InteractiveShell


class Body:
    """A compiled cell.

    Attributes:
        file: The name of its file, as in tracebacks.
        made: The names that it binds.
        waits: True if it has an ``await`` outside of functions, so that the caller has to await it.

    """

    def __init__(self, shell: InteractiveShell, text: str) -> None:
        """Compile a cell, with the magics that are in it.

        Raises:
            SyntaxError: It does not compile.

        """
        self._shell: Any = shell
        compiler: Any = shell.compile
        source = self._shell.transform_cell(text)
        self.file = name = compiler.cache(source, self._shell.displayhook.prompt_count, raw_code=text)
        tree = self._shell.transform_ast(compiler.ast_parse(source, filename=name))
        self.made = {
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        self._code: list[CodeType] = []
        shown = self._shown(tree, source)
        with compiler.extra_flags(ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if self._shell.autoawait else 0):
            for node in tree.body:
                part = ast.Interactive([node]) if node in shown else ast.Module([node], [])
                self._code.append(compiler(part, name, "single" if node in shown else "exec"))
        self.waits = any(map(_waits, self._code))

    def _shown(self, tree: ast.Module, source: str) -> list[ast.stmt]:
        """Return the statements whose values are shown, by the shell's ``ast_node_interactivity``."""
        which = self._shell.ast_node_interactivity
        if not tree.body or which == "none" or DisplayHook.semicolon_at_end_of_expression(source):
            return []
        if which == "all":
            return tree.body
        return tree.body[-1:] if which == "last" or isinstance(tree.body[-1], ast.Expr) else []

    async def run(self) -> None:
        """Run it; the traceback of an error later looks as without the magic."""
        # IPython's mark: for the debugger, the user's frames begin below this one.
        __tracebackhide__ = "__ipython_bottom__"
        try:
            for code in self._code:
                if _waits(code):
                    await eval(code, self._shell.user_global_ns, self._shell.user_ns)  # noqa: S307  (the user's cell)
                else:
                    exec(code, self._shell.user_global_ns, self._shell.user_ns)  # noqa: S102  (the user's cell)
        except BaseException as error:
            self._hide_ours(error)
            raise
        finally:
            self._shell.events.trigger("post_execute")  # as after any cell: its figures are drawn

    def _hide_ours(self, error: BaseException) -> None:
        """Let IPython show a traceback that begins with the cell, once: by its protocol ``_render_traceback_``."""
        ours: Any = error.__traceback__  # one frame; what is above is added later
        if hasattr(error, "_render_traceback_") or ours.tb_next is None:
            return

        def render() -> Any:
            del vars(error)["_render_traceback_"]
            return self._shell.InteractiveTB.structured_traceback(type(error), error, ours.tb_next, tb_offset=0)

        vars(error)["_render_traceback_"] = render


def _waits(code: CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_COROUTINE)
