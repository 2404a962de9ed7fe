CREATE TABLE omnichannel.company (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
	country text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
	calling_code text NOT NULL CHECK (calling_code ~ '^[+][1-9][0-9]{0,3}$'),
	time_zone text NOT NULL CHECK ((timestamptz 'epoch' AT TIME ZONE time_zone) IS NOT NULL),
	rounding text NOT NULL DEFAULT 'half_up' CHECK (rounding IN ('half_up', 'half_even', 'half_down')),
	tax_inclusive boolean,
	version text NOT NULL
);
COMMENT ON TABLE omnichannel.company IS
'One row: what setup() was told, and the version that the tables have.';
COMMENT ON COLUMN omnichannel.company.currency IS 'ISO 4217 code of what names none: lists, products and displayed prices from now on, and quote(). What is there keeps its own.';
COMMENT ON COLUMN omnichannel.company.country IS 'ISO 3166-1 alpha-2 code.';
COMMENT ON COLUMN omnichannel.company.calling_code IS 'Put before telephone numbers written without one (ITU-T E.164), with its plus.';
COMMENT ON COLUMN omnichannel.company.time_zone IS 'IANA name of the zone of calendars for which none is named.';
COMMENT ON COLUMN omnichannel.company.rounding IS 'How prices are rounded to the currency''s minor unit: half_up is half away from zero.';
COMMENT ON COLUMN omnichannel.company.tax_inclusive IS 'Whether amounts of products and promotions, which are in no price list, contain the product''s tax_rate: min_price, cost with its margin, and what promotions take off, cap, ask for and leave. NULL: as the list of the base price that they stand beside (of a basket: with tax, unless all of these are without). Set it where base lists with and without tax stand side by side.';
COMMENT ON COLUMN omnichannel.company.version IS 'Version of the tables; upgrade() raises it to the extension''s.';
SELECT omnichannel.create_config_cache('company', 'company');
