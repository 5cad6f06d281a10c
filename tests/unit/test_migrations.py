"""The migrations as files."""

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

import migrations
from service.store.migrate import head_revision


def scripts():
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return ScriptDirectory.from_config(config)


def test_there_is_exactly_one_head():
    assert scripts().get_heads() == [head_revision()]


def test_every_migration_is_on_the_way_from_the_one_base_and_can_go_back():
    found = list(scripts().walk_revisions())
    assert len(scripts().get_bases()) == 1
    assert [script.revision for script in found] == sorted((s.revision for s in found), reverse=True)
    assert all(not isinstance(script.down_revision, tuple) for script in found)
    assert all(callable(script.module.downgrade) for script in found)
    assert len(found) == len(list(Path(migrations.__file__).parent.glob("versions/*.py")))
