"""Write small databases of types, statement by statement; both generations of them."""
import json
import os
import sqlite3

TABLES = [
    'CREATE TABLE files (id INTEGER PRIMARY KEY, file TEXT)',
    'CREATE TABLE funs (id INTEGER PRIMARY KEY, func VARCHAR, args VARCHAR, argi VARCHAR, '
    'ret VARCHAR, line INTEGER, fid INTEGER, module VARCHAR)',
    'CREATE TABLE structs (id INTEGER PRIMARY KEY, name VARCHAR, members INTEGER, bytes INTEGER)',
    'CREATE TABLE members (id INTEGER PRIMARY KEY, fid INTEGER, types VARCHAR, name VARCHAR, '
    'offset INTEGER, bytes INTEGER, bits VARCHAR DEFAULT "")',
    'CREATE TABLE types (id INTEGER PRIMARY KEY, name VARCHAR, alias VARCHAR, bytes INTEGER)']
# The older generation does not have the names of arguments.
OLDER = [table.replace('argi VARCHAR, ', '') for table in TABLES]


def make(path, *statements):
    """Write a new database: each statement is a text, or (text, value ...)."""
    if os.path.exists(path):
        os.remove(path)
    add(path, *statements)


def add(path, *statements):
    """Carry out statements in a database."""
    connection = sqlite3.connect(path)
    for statement in ('PRAGMA synchronous = OFF', 'PRAGMA journal_mode = OFF') + statements:
        if isinstance(statement, str):
            statement = (statement,)
        connection.execute(statement[0], statement[1:])
    connection.commit()
    connection.close()


def function(name, kinds, names=(), result='int'):
    """Return the statement that adds a function."""
    return ("INSERT INTO funs (func, args, argi, ret) VALUES (?, ?, ?, ?)", name,
            json.dumps(list(kinds)), json.dumps(list(names)), result)
