"""`lb --install-completion`: a module of its own, since few ask for it and its import takes long."""

from cyclopts.completion.install import create_install_completion_command

from lb.cli import app

install = create_install_completion_command(app.install_completion, add_to_startup=True)
