#!/usr/bin/env python3
"""story.py: a customer meets one company in four channels, and four applications meet her in one database.

Each application has a session and a login of its own. Three are psql; the branch speaks to the server through a driver
that shares no code with libpq, pg8000. What they are told is compared: a difference, or anything that is not as the
story tells it, ends it with an error.
"""

import datetime
import os
import re
import subprocess
import sys
import textwrap
import zoneinfo

import pg8000

BOLD, DIM, OFF = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
WARSAW = zoneinfo.ZoneInfo("Europe/Warsaw")
SEPARATOR = "\x1f"
END = "--- end of answer ---"
WIDTH = 100


def plain(value):
    """A value as the story shows it, whichever driver it comes from."""
    if isinstance(value, datetime.datetime):
        value = value.astimezone(WARSAW).isoformat(" ")
    elif isinstance(value, bool):
        value = "yes" if value else "no"
    text = "" if value is None else str(value)
    if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.\d]*\+\d\d", text):
        form = "%a %H:%M" if text.startswith("2025-03") else "%d %b %Y"
        text = datetime.datetime.fromisoformat(text[:16]).strftime(form)
    return {"t": "yes", "f": "no"}.get(text, text)


class Psql:
    """A session of psql that stays open."""

    def __init__(self, name):
        self.name = name
        command = ["psql", "-X", "-q", "-A", "-t", "-F", SEPARATOR, "-v", "ON_ERROR_STOP=1"]
        if name:
            command += ["-U", name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, sql):
        """Returns the rows of a statement as lists of text."""
        self.process.stdin.write(f"{sql};\n\\echo {END}\n")
        self.process.stdin.flush()
        rows = []
        for line in self.process.stdout:
            if line.rstrip("\n") == END:
                return rows
            rows.append([plain(cell) for cell in line.rstrip("\n").split(SEPARATOR)])
        raise SystemExit(f"{self.name}: the session ended at: {sql}")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Driver:
    """A session through pg8000."""

    def __init__(self, name):
        self.name = name
        self.connection = pg8000.connect(
            user=name,
            unix_sock=f"{os.environ['PGHOST']}/.s.PGSQL.{os.environ['PGPORT']}",
            database=os.environ["PGDATABASE"],
        )
        self.connection.autocommit = True

    def ask(self, sql):
        """Returns the rows of a statement as lists of text."""
        cursor = self.connection.cursor()
        cursor.execute(sql)
        rows = cursor.fetchall() if cursor.description else []
        return [[plain(value) for value in row] for row in rows]

    def close(self):
        self.connection.close()


def out(text=""):
    """Prints text; of several blank lines only the first."""
    if text or out.last:
        print(text, flush=True)
    out.last = text


out.last = "nothing yet"


def chapter(title):
    out()
    out(f"{BOLD}{title}{OFF}\n{'─' * len(title)}")


def say(text):
    out(textwrap.fill(" ".join(text.split()), WIDTH))


def quote(app, sql):
    """A statement as the story shows it."""
    lines = textwrap.fill(f"{app.name}=> {' '.join(sql.split())}", WIDTH - 2, subsequent_indent="    ")
    return textwrap.indent(lines, f"  {DIM}") + OFF


def run(app, sql):
    """Runs a statement and prints it, with its answer where that is one value; returns the rows."""
    rows = app.ask(sql)
    out(quote(app, sql) + (f"  → {rows[0][0]}" if len(rows) == 1 and rows[0] != [""] else ""))
    return rows


def show(app, sql, *heads):
    """Runs a statement and prints it and its rows under these heads, numbers to the right; returns the rows."""
    rows = app.ask(sql)
    columns = list(zip(heads, *rows))
    widths = [max(map(len, column)) for column in columns]
    right = [bool(rows) and all(re.fullmatch(r"-?[\d.]*", cell) for cell in column[1:]) for column in columns]
    out(quote(app, sql))
    for row in [heads, ["─" * width for width in widths], *rows]:
        cells = (cell.rjust(width) if left else cell.ljust(width) for cell, width, left in zip(row, widths, right))
        out(f"    {'  '.join(cells)}".rstrip())
    out()
    return rows


def expect(what, found, wanted):
    """Ends the story unless it is as told."""
    if found != wanted:
        raise SystemExit(f"{what}: expected {wanted}, not {found}")


MAIL = """SELECT track('mail.message', channel => 'email', customer => '{sender}', kind => 'email', recipient => '',
    direction => '{agent}', value_maps => '{"direction": {"1": "outbound", "2": "outbound"}}', agent => '{agent}',
    thread => '{ticket}', occurred_at => '{sent}', subject => '{subject}')"""
TIMELINE = "SELECT occurred_at, channel, direction, outcome, coalesce(subject, body) FROM timeline(1001)"
PRICE = "SELECT list_price, unit_price, price_list, promotions::text FROM quote(1001, 'KASIA-E')"
DEADLINE = "SELECT deadline('2025-03-07 15:30+01', '6 hours', 'office')"
KNOWN = "SELECT (customer_context(1001) - 'as_of')::text"


def main():
    admin = Psql("")
    for statement in COMPANY:
        admin.ask(statement)
    mail, shop, calls, branch = Psql("mail"), Psql("shop"), Psql("calls"), Driver("branch")
    desk, analyst = Psql("desk"), Psql("analyst")
    apps = [mail, shop, calls, branch]
    admin.name = "admin"

    chapter("The company")
    say("""Rower & Co sells bicycles in Poland. Its mail gateway, its web shop, its telephone exchange and its branch
        in Poznań each have a table of their own, designed long before today. They share one database.""")
    say("One call for each, and every row that it writes is a contact, in the same transaction. None was changed.")
    run(admin, MAIL)
    show(admin, "SELECT relation, channel, customer, kind FROM tracking ORDER BY relation::text",
        "table", "channel", "customer", "known by")
    say("Each has a login with the rights of a channel and no more. What was written before today is history:")
    expect("backfill", run(admin, "SELECT backfill('mail.message')"), [["2"]])

    chapter("Friday, 15:30: an e-mail")
    run(mail, """INSERT INTO message (ticket, sender, subject, sent)
        VALUES ('T-88', 'Anna.Nowak@Example.com', 'Which e-bike for 40 km?', '2025-03-07 15:30+01')""")
    say("""An answer is promised within 6 working hours. The office is open on weekdays from 9 to 17; on Monday it opens
        at 10.""")
    show(mail, """SELECT part, lower(during), upper(during), used
        FROM explain_deadline('2025-03-07 15:30+01', '6 hours', 'office')""",
        "", "from", "to", "used")
    say("Ewa answers on Monday. Now it is known who of the company knows Anna, and that the promise was kept.")
    run(mail, """INSERT INTO message (ticket, sender, subject, sent, agent)
        VALUES ('T-88', 'ewa@rower.example', 'Re: Which e-bike for 40 km?', '2025-03-10 11:40+01', 1)""")

    chapter("Monday, 16:40: a call that nobody takes")
    run(calls, "INSERT INTO call (number, began, result) VALUES ('0048 600-100-200', '2025-03-10 16:40+01', 'missed')")
    show(calls, "SELECT metric, policy, due_at FROM sla_status ORDER BY due_at", "promise", "policy", "due")
    say("Nobody knows the number: a new customer. Ewa calls back in time, and hears that it is Anna's.")
    run(calls, """INSERT INTO call (number, began, result, agent)
        VALUES ('600 100 200', '2025-03-11 09:15+01', 'returned', 1)""")
    run(desk, "SELECT merge_customers(1001, identify('phone', '600 100 200'), reason => 'said so on the phone')")
    run(desk, "SELECT remember(1001, 'commute.km', '40', source => 'Ewa')")
    run(desk, """SELECT give_consent(1001, 'marketing', 'email', proof => '{"call": 2}')""")
    say("The two are one now in every channel. The merge can be undone, exactly.")

    chapter("Tuesday, 18:05: the shop")
    run(shop, """INSERT INTO chat (login, words, at)
        VALUES ('anna.nowak@example.com', 'Hello, is the Kasia in stock?', '2025-03-11 18:05+01')""")
    say("Before the first word is typed, the shop knows what anybody in the company knows:")
    show(shop, """SELECT c ->> 'name', c #>> '{facts,commute.km,value}', c #>> '{segments,0}',
            c #>> '{best_agent,name}', jsonb_array_length(c -> 'last_contacts'), has_consent(1001, 'marketing', 'email'),
            has_consent(1001, 'marketing', 'phone') FROM customer_context(1001) AS c""",
        "customer", "km a day", "segment", "best agent", "contacts", "may mail", "may call")
    say("What the bicycle costs her, and why; there is no channel to ask for:")
    show(shop, "SELECT kind, candidate, amount::numeric(7, 2), verdict FROM explain_quote(1001, 'KASIA-E')",
        "kind", "rule", "amount", "verdict")
    show(shop, """SELECT product, list_price, unit_price, order_discount, line_total
        FROM quote_basket(1001, '[{"product": "KASIA-E"}, {"product": "SEAT"}]', coupons => '{HELLO}')""",
        "product", "list price", "her price", "coupon", "to pay")
    say("She wants to try it first. The price is kept for two days, and the order waits for advice.")
    held = run(shop, "SELECT lock_quote(1001, 'KASIA-E', hold => '2 days', key => 'basket 17')")[0][0]
    run(shop, "SELECT reserve_use('hello', key => 'basket 17', customer_id => 1001, amount => 100, coupon => 'HELLO')")
    request = run(shop, """SELECT open_request(1001, 'order', 'chat', queue => 'sales', requires => 'bikes:3',
        data => '{"bicycle": "KASIA-E"}')""")[0][0]
    show(shop, f"SELECT name, score::numeric(5, 1), reason FROM match_agents({request}) JOIN agent USING (agent_id)",
        "agent", "score", "why")
    chosen = run(shop, f"SELECT route({request})")
    expect("The agent who knows the customer", chosen, [["1"]])
    run(desk, f"SELECT accept_request({request}, 1)")
    say("Ewa takes it, because she knows Anna. Marek is as skilled and as free; Zofia knows nothing of bicycles.")

    chapter("Wednesday, 11:00: the branch")
    say("Overnight the price goes up. Anna walks into the branch, which runs on another platform and another driver.")
    run(admin, "UPDATE price SET amount = 7899 WHERE price_list = 'members' AND product = 'KASIA-E'")
    run(branch, """INSERT INTO visit (member_card, at, note)
        VALUES ('R-1001', '2025-03-12 11:00+01', 'Test ride, wants a child seat')""")
    show(branch, TIMELINE, "when", "channel", "", "outcome", "what")
    show(branch, f"""SELECT now.unit_price, held.unit_price, same
        FROM quote(1001, 'KASIA-E') AS now, locked_quote(1001, {held}) AS held, verify_quote({held})""",
        "price now", "promised", "promise was right")
    say("She buys, for what she was promised, and the branch ends what began elsewhere:")
    run(branch, f"SELECT continue_request({request}, 'branch', '{{\"seat\": true}}')")
    run(branch, "SELECT commit_use('basket 17')")
    show(branch, "SELECT kind, channel, complete_request(request_id, 'resolved') FROM open_requests(1001)",
        "request", "opened in", "version")

    chapter("One customer, one truth")
    for what, sql in (("timeline", TIMELINE), ("price", PRICE), ("deadline", DEADLINE), ("whole picture", KNOWN)):
        answers = {app.name: app.ask(sql) for app in apps}
        for app in apps:
            expect(f"What {app.name} is told of the {what}", answers[app.name], answers["mail"])
        out(f"  {what:<14} {', '.join(answers)}: the same")
    contacts = admin.ask("SELECT count(*), count(DISTINCT channel) FROM timeline(1001)")[0]
    out(f"  {contacts[0]} contacts, {contacts[1]} channels, 1 customer")
    expect("contacts and channels", contacts, ["7", "4"])

    chapter("The report")
    say("The shop tells what it displays. What is not the right price is found, here what it showed to a visitor:")
    run(shop, "SELECT shown_price('app', 'KASIA-E', 7504.05, place => 'banner')")
    admin.ask("SELECT tick()")
    show(analyst, "SELECT place, product, shown, expected, likely_cause FROM report_price_divergence",
        "place", "product", "shown", "right", "likely cause")
    kept = "SELECT metric, policy, clocks, met, breached, mean_worked FROM report_service_levels ORDER BY metric"
    report = show(analyst, kept, "promise", "policy", "made", "kept", "broken", "working time")
    show(analyst, """SELECT queue, channel, entered, offered, answered, declined + expired AS lost FROM report_queue_day
            ORDER BY day, queue, channel""",
        "queue", "channel", "waits", "offers", "taken", "not taken")
    say("Analysts see reports, and no person:")
    show(analyst, """SELECT has_table_privilege('report_service_levels', 'SELECT'),
            has_table_privilege('contact', 'SELECT')""",
        "sees reports", "sees contacts")

    chapter("Forget me")
    say("Anna may ask for what is known of her, and that it be forgotten. The report stays as it was.")
    run(admin, "SELECT length(export_customer(1001)::text)")
    show(admin, "SELECT sum(rows::int) FROM jsonb_each_text(erase_customer(1001)) AS t (name, rows)", "rows erased")
    expect("Who is Anna", run(shop, "SELECT identify('email', 'anna.nowak@example.com', false) IS NULL"), [["yes"]])
    expect("The report after an erasure", analyst.ask(kept), report)
    for app in [*apps, desk, analyst, admin]:
        app.close()


# What the company has before the story begins.
COMPANY = [
    """DO $$
    DECLARE
        role text;
    BEGIN
        EXECUTE format('ALTER DATABASE %I SET search_path = omnichannel', current_database());
        EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'Europe/Warsaw');
        SET search_path = omnichannel;
        FOREACH role IN ARRAY '{mail, shop, calls, branch, desk, analyst}'::text[] LOOP
            EXECUTE format('CREATE ROLE %I LOGIN', role);
            EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %1$I', role);
            EXECUTE format('ALTER ROLE %I SET search_path = omnichannel, %1$I', role);
            PERFORM grant_access(role::regrole,
                CASE role WHEN 'desk' THEN 'agent' WHEN 'analyst' THEN 'bi' ELSE 'app' END);
        END LOOP;
    END $$""",
    "SET search_path = omnichannel",
    """CREATE TABLE mail.message (message_id bigserial PRIMARY KEY, ticket text, sender text, subject text,
        sent timestamptz, agent bigint)""",
    "CREATE TABLE shop.chat (line_id bigserial PRIMARY KEY, login text, words text, at timestamptz)",
    """CREATE TABLE calls.call (call_id bigserial PRIMARY KEY, number text, began timestamptz, result text,
        agent bigint)""",
    "CREATE TABLE branch.visit (visit_id bigserial PRIMARY KEY, member_card text, at timestamptz, note text)",
    "GRANT SELECT, INSERT ON mail.message TO mail",
    "GRANT SELECT, INSERT ON shop.chat TO shop",
    "GRANT SELECT, INSERT ON calls.call TO calls",
    "GRANT SELECT, INSERT ON branch.visit TO branch",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA mail, shop, calls, branch TO mail, shop, calls, branch",
    """INSERT INTO mail.message (ticket, sender, subject, sent) VALUES
        ('T-1', 'anna.nowak@example.com', 'Do you have helmets?', '2023-05-04 12:10+02'),
        ('T-2', 'Jan Kos <jan@example.com>', 'Winter service', '2024-01-15 08:30+01')""",
    """INSERT INTO calendar_exception (calendar, during, open, name)
        VALUES ('office', '[2025-03-10 09:00, 2025-03-10 10:00)', false, 'Staff meeting')""",
    """INSERT INTO agent (agent_id, name, surname, skills) VALUES (1, 'Ewa', 'Zielińska', 'bikes:7, lang.pl:10'),
        (2, 'Marek', 'Wójcik', 'bikes:7, lang.pl:10'), (3, 'Zofia', 'Lis', 'billing:9, lang.pl:10')""",
    """INSERT INTO agent_channel (agent_id, channel, fluency)
        SELECT agent_id, channel, 8 FROM agent, channel WHERE channel IN ('email', 'chat', 'phone', 'branch')""",
    "INSERT INTO queue (queue, name) VALUES ('sales', 'Sales')",
    "INSERT INTO queue_member (queue, agent_id) SELECT 'sales', agent_id FROM agent",
    "SELECT set_presence(agent_id, 'available') FROM agent",
    "INSERT INTO product (product, name) VALUES ('KASIA-E', 'City e-bike Kasia'), ('SEAT', 'Child seat')",
    "INSERT INTO segment (segment, name) VALUES ('club', 'Members of the club')",
    """INSERT INTO price_list (price_list, kind, segments_any)
        VALUES ('retail', 'base', '{}'), ('members', 'sale', '{club}')""",
    """INSERT INTO price (price_list, product, amount)
        VALUES ('retail', 'KASIA-E', 7999), ('retail', 'SEAT', 249), ('members', 'KASIA-E', 7599)""",
    """INSERT INTO promotion (promotion, kind, value, products, stage, currency, needs_coupon, use_limit) VALUES
        ('spring', 'percent', 5, '{KASIA-E}', 1, NULL, false, NULL),
        ('hello', 'order_amount', 100, '{}', 2, 'PLN', true, 500)""",
    "INSERT INTO coupon (coupon, promotion) VALUES ('HELLO', 'hello')",
    "INSERT INTO identity_kind (kind, name, strong) VALUES ('member_card', 'Member card', true)",
    "INSERT INTO customer (customer_id, name) VALUES (1001, 'Anna Nowak')",
    """INSERT INTO identity (kind, value, customer_id)
        VALUES ('email', 'anna.nowak@example.com', 1001), ('member_card', 'R-1001', 1001)""",
    "INSERT INTO segment_member (customer_id, segment) VALUES (1001, 'club')",
    """SELECT track('shop.chat', channel => 'chat', customer => '{login}', kind => 'email', occurred_at => '{at}',
        body => '{words}')""",
    """SELECT track('calls.call', channel => 'phone', customer => '{number}', kind => 'phone', direction => '{result}',
        value_maps => '{"direction": {"missed": "inbound", "returned": "outbound"},
            "outcome": {"returned": "answered"}}', outcome => '{result}',
        agent => '{agent}', occurred_at => '{began}')""",
    """SELECT track('branch.visit', channel => 'branch', customer => '{member_card}', kind => 'member_card',
        occurred_at => '{at}', body => '{note}')""",
]

if __name__ == "__main__":
    main()
