CREATE TABLE omnichannel.calendar (
	calendar text PRIMARY KEY CHECK (calendar <> ''),
	name text NOT NULL,
	time_zone text NOT NULL DEFAULT @time_zone@ CHECK (omnichannel.check_time_zone(time_zone)),
	hours omnichannel.working_hours NOT NULL
);
COMMENT ON TABLE omnichannel.calendar IS
'Working times: open are the hours, less the closures and plus the openings of calendar_exception.';
COMMENT ON COLUMN omnichannel.calendar.calendar IS 'Code.';
COMMENT ON COLUMN omnichannel.calendar.name IS 'For people to read.';
COMMENT ON COLUMN omnichannel.calendar.time_zone IS 'IANA name of the zone of the hours and the exceptions.';
COMMENT ON COLUMN omnichannel.calendar.hours IS 'The week, in local time: ''Mo-Fr 09:00-17:00; Sa 10:00-14:00''.';

CREATE TABLE omnichannel.calendar_exception (
	calendar text NOT NULL REFERENCES omnichannel.calendar ON UPDATE CASCADE ON DELETE CASCADE,
	during tsrange NOT NULL CHECK (NOT isempty(during)),
	open boolean NOT NULL DEFAULT false,
	name text,
	uid text NOT NULL DEFAULT '',
	PRIMARY KEY (calendar, during, open, uid)
);
COMMENT ON TABLE omnichannel.calendar_exception IS
'Closures and special openings of calendars; they may overlap, and an opening beats a closure.';
COMMENT ON COLUMN omnichannel.calendar_exception.calendar IS 'Whose exception it is.';
COMMENT ON COLUMN omnichannel.calendar_exception.during IS
'Local time of the calendar, of any length; a range without an end is for good.';
COMMENT ON COLUMN omnichannel.calendar_exception.open IS 'True for an opening, false for a closure.';
COMMENT ON COLUMN omnichannel.calendar_exception.name IS 'For people to read.';
COMMENT ON COLUMN omnichannel.calendar_exception.uid IS
'UID (RFC 5545) of the event that it was imported with; empty for one entered by hand.';

CREATE TRIGGER guard_calendar_exception BEFORE INSERT OR UPDATE OF during ON omnichannel.calendar_exception
	FOR EACH ROW WHEN (NEW.during IS NULL OR isempty(NEW.during)) EXECUTE FUNCTION omnichannel.guard_calendar_exception();

SELECT omnichannel.create_config_cache('calendar', 'calendar', 'calendar_exception');

INSERT INTO omnichannel.calendar (calendar, name, hours) VALUES
	('24/7', 'Around the clock', '24/7'),
	('office', 'Office hours', 'Mo-Fr 09:00-17:00');
