#!/usr/bin/env python3
"""story.py: a customer meets one company in four channels, and four applications meet her in one database.

Four sessions stay open all the time, one for each application. Three are psql; the branch desk speaks to the server
through a driver of its own, pg8000, which shares no code with libpq. What the applications are told is compared, and a
difference ends the story with an error.
"""

import os
import subprocess
import sys
import textwrap

import pg8000

BOLD, DIM, OFF = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
SEPARATOR = "\x1f"
END = "--- end of answer ---"


class Psql:
    """An application that keeps a psql open."""

    def __init__(self, name):
        self.name = name
        command = ["psql", "-X", "-q", "-A", "-t", "-F", SEPARATOR, "-v", "ON_ERROR_STOP=1", "-P", "null="]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, sql):
        """Returns the rows of a statement as lists of text."""
        self.process.stdin.write(f"{sql};\n\\echo {END}\n")
        self.process.stdin.flush()
        rows = []
        for line in self.process.stdout:
            if line.rstrip("\n") == END:
                return rows
            rows.append(line.rstrip("\n").split(SEPARATOR))
        raise SystemExit(f"{self.name}: the session ended at: {sql}")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Driver:
    """An application that talks to the server through pg8000."""

    def __init__(self, name):
        self.name = name
        self.connection = pg8000.connect(
            user=os.environ["PGUSER"],
            unix_sock=f"{os.environ['PGHOST']}/.s.PGSQL.{os.environ['PGPORT']}",
            database=os.environ["PGDATABASE"],
        )
        self.connection.autocommit = True

    def ask(self, sql):
        """Returns the rows of a statement as lists of text."""
        cursor = self.connection.cursor()
        cursor.execute(sql)
        rows = cursor.fetchall() if cursor.description else []
        return [["" if value is None else str(value) for value in row] for row in rows]

    def close(self):
        self.connection.close()


def chapter(title):
    print(f"\n{BOLD}{title}{OFF}\n{'─' * len(title)}")


def say(text):
    print(textwrap.fill(" ".join(text.split()), 96))


def show(app, sql, heads, rows=None):
    """Asks and prints the answer as a table; returns its rows."""
    statement = " ".join(sql.split())
    print(textwrap.indent(textwrap.fill(f"{app.name}=> {statement}", 110, subsequent_indent="    "), f"  {DIM}") + OFF)
    if rows is None:
        rows = app.ask(sql)
    widths = [max(len(str(cell)) for cell in column) for column in zip(heads, *rows)]
    print("    " + "  ".join(head.ljust(width) for head, width in zip(heads, widths)).rstrip())
    print("    " + "  ".join("─" * width for width in widths))
    for row in rows:
        print("    " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())
    print()
    return rows


def do(app, sql, quiet=False):
    """Runs a statement and prints it."""
    if not quiet:
        statement = " ".join(sql.split())
        print(textwrap.indent(textwrap.fill(f"{app.name}=> {statement}", 110, subsequent_indent="    "), f"  {DIM}") + OFF)
    return app.ask(sql)


def same(what, answers):
    """Ends the story unless all the applications were told the same."""
    first = next(iter(answers.values()))
    if not first or any(answer != first for answer in answers.values()):
        raise SystemExit(f"The applications were told different things about {what}: {answers}")


def at(column):
    return f"to_char({column} AT TIME ZONE 'Europe/Warsaw', 'Dy DD Mon HH24:MI')"


def main():
    mail, chat, calls, branch = Psql("mail"), Psql("chat"), Psql("calls"), Driver("branch")
    apps = [mail, chat, calls, branch]

    chapter("The company")
    say("""Rower & Co sells bicycles in Poland. Its mail gateway, its chat, its telephone exchange and the desk of its
        branch in Poznań each have a table of their own, designed long before today. They share one database.""")
    print()
    for statement in SET_UP:
        mail.ask(statement)
    show(mail, "SELECT name || ' ' || surname, skills FROM omnichannel.agent ORDER BY agent_id", ["agent", "skills"])
    show(mail, "SELECT relation, channel, customer FROM omnichannel.tracking ORDER BY relation::text", ["relation", "channel", "customer"])
    say("""From now on a row in one of these tables is a contact in the log, in the same transaction. None of the
        applications was changed.""")

    chapter("Friday, 15:30: an e-mail")
    say("Anna Nowak writes. The gateway stores her message, as it always has.")
    do(mail, """INSERT INTO mail.message (sender, subject, received)
        VALUES ('Anna.Nowak@Example.com', 'Which e-bike for 40 km a day?', '2026-03-06 15:30+01')""")
    say("An answer is promised within 6 working hours. The office is open on weekdays from 9 to 17.")
    due = f"""SELECT {at("omnichannel.deadline(occurred_at, '6 hours', 'office')")}
        FROM omnichannel.contact WHERE subject = 'Which e-bike for 40 km a day?'"""
    show(mail, due, ["answer due"])
    say("Ewa answers on Monday morning. So the log knows who of the company knows Anna.")
    do(mail, """INSERT INTO mail.message (sender, subject, received, answered_by)
        VALUES ('anna.nowak@example.com', 'Re: Which e-bike for 40 km a day?', '2026-03-09 09:40+01', 1)""")

    chapter("Monday, 18:05: a chat")
    say("""At home Anna opens the chat of the shop, logged in by her e-mail address. Before the first word is typed the
        chat knows what was said, and what the bicycle costs her.""")
    do(chat, """INSERT INTO chat.line (login, who, said, at)
        VALUES ('anna.nowak@example.com', 'customer', 'Hello, is the Kasia in stock?', '2026-03-09 18:05+01')""")
    timeline = f"""SELECT {at('occurred_at')}, channel, direction, coalesce(subject, body)
        FROM omnichannel.timeline(omnichannel.identify('email', 'anna.nowak@example.com', false))"""
    show(chat, timeline, ["when", "channel", "", "what"])
    price = """SELECT list_price, unit_price, currency, price_list
        FROM omnichannel.quote(omnichannel.identify('email', 'anna.nowak@example.com', false), 'KASIA-E')"""
    show(chat, price, ["list price", "her price", "", "price list"])
    say("The list price is for everyone; hers is the members', because she is one, not because she asks in the chat.")

    chapter("Tuesday, 10:12: a telephone call")
    say("""Anna calls. Her number belongs to the same customer, however she or the exchange writes it.""")
    do(calls, """INSERT INTO pbx.call (caller, began, ended_how)
        VALUES ('0048 600-100-200', '2026-03-10 10:12+01', 'answered')""")
    say("She wants the bicycle, with a child seat. Who takes it from here?")
    request = do(calls, """SELECT omnichannel.open_request(omnichannel.identify('phone', '600 100 200'), 'order', 'phone',
        queue => 'sales', requires => 'bikes:3')""")[0][0]
    show(calls, f"""SELECT agent.name || ' ' || surname, round(score::numeric, 1), round(relationship::numeric, 2),
            round(fluency::numeric, 2), round(skill::numeric, 2), match.reason
        FROM omnichannel.match_agents({request}) AS match JOIN omnichannel.agent USING (agent_id)
        ORDER BY score DESC, agent_id""",
        ["agent", "score", "relationship", "fluency", "skill", "why"])
    chosen = do(calls, f"SELECT name || ' ' || surname FROM omnichannel.agent WHERE agent_id = omnichannel.route({request})")
    say(f"{chosen[0][0]}, who answered her e-mail, is offered the call. Marek is just as free; he does not know her.")
    if chosen[0][0] != "Ewa Zielińska":
        raise SystemExit(f"The agent who knows the customer should have been chosen, not {chosen}")

    chapter("Wednesday, 11:00: the branch")
    say("""Anna walks into the branch. The desk there runs on another platform and another driver. It asks the same
        questions.""")
    do(branch, """INSERT INTO desk.visit (member_card, at, note)
        VALUES ('R-1001', '2026-03-11 11:00+01', 'Test ride, wants a child seat')""")
    show(branch, timeline, ["when", "channel", "", "what"])
    show(branch, price, ["list price", "her price", "", "price list"])

    chapter("One customer, one truth")
    for what, sql in (("the timeline", timeline), ("the price", price), ("the deadline", due)):
        answers = {app.name: app.ask(sql) for app in apps}
        same(what, answers)
        print(f"  {what:<13} {', '.join(answers)}: the same {len(answers['mail'])} row(s)")
    contacts = mail.ask("SELECT count(*), count(DISTINCT customer_id), count(DISTINCT channel) FROM omnichannel.contact")[0]
    print(f"\n  {contacts[0]} contacts, {contacts[2]} channels, {contacts[1]} customer.")
    if contacts != ["5", "1", "4"]:
        raise SystemExit(f"expected 5 contacts of 1 customer in 4 channels, not {contacts}")
    for app in apps:
        app.close()


# What the company has before the story begins.
SET_UP = [
    """CREATE SCHEMA mail; CREATE SCHEMA chat; CREATE SCHEMA pbx; CREATE SCHEMA desk""",
    """CREATE TABLE mail.message (message_id bigserial PRIMARY KEY, sender text, subject text, received timestamptz,
        answered_by bigint, direction text GENERATED ALWAYS AS (CASE WHEN answered_by IS NULL THEN 'inbound' ELSE 'outbound' END) STORED)""",
    """CREATE TABLE chat.line (line_id bigserial PRIMARY KEY, login text, who text, said text, at timestamptz)""",
    """CREATE TABLE pbx.call (call_id bigserial PRIMARY KEY, caller text, began timestamptz, ended_how text)""",
    """CREATE TABLE desk.visit (visit_id bigserial PRIMARY KEY, member_card text, at timestamptz, note text)""",
    """INSERT INTO omnichannel.identity_kind (kind, name, strong) VALUES ('member_card', 'Member card', true)""",
    """INSERT INTO omnichannel.agent (agent_id, name, surname, skills) VALUES
        (1, 'Ewa', 'Zielińska', 'bikes:7, lang.pl:10'), (2, 'Marek', 'Wójcik', 'bikes:7, lang.pl:10'),
        (3, 'Zofia', 'Lis', 'billing:9, lang.pl:10')""",
    """INSERT INTO omnichannel.agent_channel (agent_id, channel, fluency)
        SELECT agent_id, channel, 8 FROM omnichannel.agent, omnichannel.channel WHERE channel IN ('email', 'chat', 'phone', 'branch')""",
    """INSERT INTO omnichannel.queue (queue, name) VALUES ('sales', 'Sales')""",
    """INSERT INTO omnichannel.queue_member (queue, agent_id) SELECT 'sales', agent_id FROM omnichannel.agent""",
    """SELECT omnichannel.set_presence(agent_id, 'available') FROM omnichannel.agent""",
    """INSERT INTO omnichannel.product (product, name) VALUES ('KASIA-E', 'City e-bike Kasia')""",
    """INSERT INTO omnichannel.segment (segment, name) VALUES ('member', 'Members of the club')""",
    """INSERT INTO omnichannel.price_list (price_list, name, kind) VALUES ('shop', 'Everyone', 'base')""",
    """INSERT INTO omnichannel.price_list (price_list, name, kind, segments_any) VALUES ('club', 'Members', 'sale', '{member}')""",
    """INSERT INTO omnichannel.price (price_list, product, amount) VALUES ('shop', 'KASIA-E', 7999), ('club', 'KASIA-E', 7599)""",
    """INSERT INTO omnichannel.customer (customer_id, name) VALUES (1001, 'Anna Nowak')""",
    """INSERT INTO omnichannel.identity (kind, value, customer_id) VALUES ('email', 'anna.nowak@example.com', 1001),
        ('phone', '+48600100200', 1001), ('member_card', 'R-1001', 1001)""",
    """INSERT INTO omnichannel.segment_member (customer_id, segment) VALUES (1001, 'member')""",
    """SELECT omnichannel.track('mail.message', channel => 'email', customer => '{sender}', kind => 'email',
        direction => '{direction}', occurred_at => '{received}', agent => '{answered_by}', subject => '{subject}')""",
    """SELECT omnichannel.track('chat.line', channel => 'chat', customer => '{login}', kind => 'email',
        occurred_at => '{at}', body => '{said}')""",
    """SELECT omnichannel.track('pbx.call', channel => 'phone', customer => '{caller}', kind => 'phone',
        occurred_at => '{began}', outcome => '{ended_how}')""",
    """SELECT omnichannel.track('desk.visit', channel => 'branch', customer => '{member_card}', kind => 'member_card',
        occurred_at => '{at}', body => '{note}')""",
]

if __name__ == "__main__":
    main()
