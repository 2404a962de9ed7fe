CREATE TABLE omnichannel.segment (
	segment text PRIMARY KEY CHECK (segment <> '') CHECK (octet_length(segment) <= 500 OR omnichannel.refuse_long('segment', segment)),
	name text,
	rule text,
	refreshed_at timestamptz,
	refresh_error text,
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE omnichannel.segment IS
'Groups of customers for whom prices, promotions and contents can differ. Everyone is in no segment at all, and in as many as fit.';
COMMENT ON COLUMN omnichannel.segment.segment IS 'Code, as in vip or region.pl.';
COMMENT ON COLUMN omnichannel.segment.name IS 'What people read.';
COMMENT ON COLUMN omnichannel.segment.created_at IS 'When the row was inserted, in the time of its transaction.';
COMMENT ON COLUMN omnichannel.segment.rule IS 'Who is in it: one SQL expression over the columns of segment_input, as in language = ''pl'' AND facts ->> ''tier'' = ''gold''; refresh_segments() applies it. NULL: members are entered by hand.';
COMMENT ON COLUMN omnichannel.segment.refreshed_at IS 'When refresh_segments() last applied the rule.';
COMMENT ON COLUMN omnichannel.segment.refresh_error IS 'What the rule raised when it was last tried; NULL: nothing.';
CREATE TRIGGER segment_rule BEFORE INSERT OR UPDATE OF rule ON omnichannel.segment
FOR EACH ROW WHEN (NEW.rule IS NOT NULL) EXECUTE FUNCTION omnichannel.check_segment();
CREATE TRIGGER segment_unused BEFORE DELETE OR UPDATE OF segment ON omnichannel.segment
FOR EACH ROW EXECUTE FUNCTION omnichannel.check_segment_unused();

CREATE TABLE omnichannel.segment_member (
	customer_id bigint NOT NULL REFERENCES omnichannel.customer,
	segment text NOT NULL REFERENCES omnichannel.segment,
	valid tstzrange NOT NULL DEFAULT tstzrange(now(), NULL) CHECK (NOT isempty(valid)),
	PRIMARY KEY (customer_id, segment, valid),
	CONSTRAINT segment_member_no_overlap EXCLUDE USING gist (customer_id WITH =, (segment || '') WITH =, valid WITH &&)
);
CREATE INDEX segment_member_segment ON omnichannel.segment_member (segment);
COMMENT ON TABLE omnichannel.segment_member IS
'Who is in which segment, and when. Two memberships of one customer in one segment cannot overlap (23P01).';
COMMENT ON COLUMN omnichannel.segment_member.customer_id IS 'The customer; those who are one with it by a merge share its segments.';
COMMENT ON COLUMN omnichannel.segment_member.segment IS 'The segment.';
COMMENT ON COLUMN omnichannel.segment_member.valid IS 'Half-open: in from its start, out at its end. From now on, where none is given.';

CREATE TABLE omnichannel.price_list (
	price_list text PRIMARY KEY CHECK (price_list <> '') CHECK (octet_length(price_list) <= 500 OR omnichannel.refuse_long('price list', price_list)),
	name text,
	kind text NOT NULL DEFAULT 'base' CHECK (kind IN ('base', 'override', 'sale')),
	priority integer NOT NULL DEFAULT 0,
	currency text NOT NULL DEFAULT omnichannel.default_currency() REFERENCES omnichannel.currency,
	segments_any text[] NOT NULL DEFAULT '{}' CHECK (array_position(segments_any, NULL) IS NULL),
	segments_all text[] NOT NULL DEFAULT '{}' CHECK (array_position(segments_all, NULL) IS NULL),
	valid tstzrange NOT NULL DEFAULT tstzrange(NULL, NULL) CHECK (NOT isempty(valid)),
	status text NOT NULL DEFAULT 'active' CHECK (status IN ('draft', 'approved', 'active', 'retired')),
	tax_inclusive boolean NOT NULL DEFAULT true,
	derived_from text REFERENCES omnichannel.price_list CHECK (derived_from <> price_list),
	derived_adjust numeric CHECK (derived_adjust >= -100 AND derived_adjust < 1e6),
	derived_surcharge numeric CHECK (derived_surcharge > -1e18 AND derived_surcharge < 1e18),
	derived_round_to numeric CHECK (derived_round_to > 0 AND derived_round_to < 1e18),
	derived_since timestamptz,
	approved_by text,
	approved_at timestamptz,
	active tstzmultirange NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT price_list_derived CHECK (derived_from IS NOT NULL OR num_nonnulls(derived_adjust, derived_surcharge, derived_round_to) = 0)
);
CREATE INDEX price_list_derived_from ON omnichannel.price_list (derived_from) WHERE derived_from IS NOT NULL;
COMMENT ON TABLE omnichannel.price_list IS
'Price lists. base: the ordinary prices; override: prices that replace them, as a contract does; sale: prices that hold only while they are lower.';
COMMENT ON COLUMN omnichannel.price_list.price_list IS 'Code, as in retail or contract.acme.';
COMMENT ON COLUMN omnichannel.price_list.name IS 'What people read.';
COMMENT ON COLUMN omnichannel.price_list.approved_at IS 'When approved_by did so: the start of that transaction. Kept by a trigger; other values are not taken.';
COMMENT ON COLUMN omnichannel.price_list.kind IS 'base, override (replaces the base price, also as list_price) or sale (never raises it, and list_price stays).';
COMMENT ON COLUMN omnichannel.price_list.priority IS 'Among lists that fit, the highest wins; among equals the lower price, then the code in byte order.';
COMMENT ON COLUMN omnichannel.price_list.currency IS 'ISO 4217 code of all its prices. They answer for this currency only: amounts are never converted.';
COMMENT ON COLUMN omnichannel.price_list.segments_any IS 'For customers in at least one of these segments; empty: for everyone.';
COMMENT ON COLUMN omnichannel.price_list.segments_all IS 'For customers in all of these segments.';
COMMENT ON COLUMN omnichannel.price_list.valid IS 'Half-open: on from its start, off at its end.';
COMMENT ON COLUMN omnichannel.price_list.status IS 'Only active lists answer; draft, approved and retired ones are kept.';
COMMENT ON COLUMN omnichannel.price_list.derived_from IS 'The list whose prices this one takes, changed; it holds no others. Its rows follow every change of that list; another percentage, surcharge or rounding begins now, and what they were stays for the past. They are written by triggers only (23514). A cycle raises 23514.';
COMMENT ON COLUMN omnichannel.price_list.derived_adjust IS 'Percent added to the prices of derived_from: -10 makes them a tenth less.';
COMMENT ON COLUMN omnichannel.price_list.derived_surcharge IS 'Money added after that.';
COMMENT ON COLUMN omnichannel.price_list.derived_round_to IS 'What comes out is rounded to a multiple of this, as in 0.05.';
COMMENT ON COLUMN omnichannel.price_list.derived_since IS 'Since when it is derived so; kept by a trigger, and other values are not taken. Prices of before stand on their own. NULL: always.';
COMMENT ON COLUMN omnichannel.price_list.created_at IS 'Never changed; kept by a trigger, and other values are not taken.';
COMMENT ON COLUMN omnichannel.price_list.approved_by IS 'The role that set status to approved, or to active without that; the latest, where a list came back from draft or retired. Kept by a trigger; other values are not taken.';
COMMENT ON COLUMN omnichannel.price_list.active IS 'When status was active; kept by a trigger, so that past answers stay what they were. From ever on, where the list was made active. It, not status, is what answers follow: whoever writes it by hand corrects them, which price_correction notes.';
COMMENT ON COLUMN omnichannel.price_list.tax_inclusive IS 'Whether its prices contain the product''s tax_rate. Lists that do are compared with such that do not by what that rate makes of the amounts; what a price adjusts is brought to its own list''s way first. Derived lists have that of their source, else 23514.';
CREATE TRIGGER price_list_segments BEFORE INSERT OR UPDATE OF segments_any, segments_all ON omnichannel.price_list
FOR EACH ROW EXECUTE FUNCTION omnichannel.check_segments();
CREATE TRIGGER price_list_note_active BEFORE INSERT OR UPDATE OF status ON omnichannel.price_list
FOR EACH ROW EXECUTE FUNCTION omnichannel.note_active();
CREATE TRIGGER price_list_source BEFORE UPDATE OF currency, tax_inclusive ON omnichannel.price_list
FOR EACH ROW EXECUTE FUNCTION omnichannel.check_price_source();
CREATE TRIGGER price_list_base BEFORE UPDATE OF kind ON omnichannel.price_list
FOR EACH ROW WHEN (NEW.kind = 'base') EXECUTE FUNCTION omnichannel.check_price_base();

CREATE TABLE omnichannel.price (
	price_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	price_list text NOT NULL REFERENCES omnichannel.price_list,
	product text REFERENCES omnichannel.product,
	category @ltree@.ltree,
	category_path text GENERATED ALWAYS AS (@ltree@.ltree2text(category)) STORED CHECK (category_path <> '')
		CHECK (octet_length(category_path) <= 500 OR omnichannel.refuse_long('category', category_path)),
	everything boolean NOT NULL DEFAULT false,
	min_quantity numeric NOT NULL DEFAULT 0 CHECK (min_quantity >= 0 AND min_quantity < 1e18 AND scale(min_quantity) <= 50),
	amount numeric CHECK (amount >= 0 AND amount < 1e18 AND scale(amount) <= 500),
	adjust numeric CHECK (adjust >= -100 AND adjust < 1e6 AND scale(adjust) <= 500),
	surcharge numeric CHECK (surcharge > -1e18 AND surcharge < 1e18 AND scale(surcharge) <= 500),
	round_to numeric CHECK (round_to > 0 AND round_to < 1e18 AND scale(round_to) <= 500),
	valid tstzrange NOT NULL DEFAULT tstzrange(now(), NULL) CHECK (NOT isempty(valid)),
	source_price bigint REFERENCES omnichannel.price ON DELETE CASCADE,
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT price_one_target CHECK (num_nonnulls(product, category, nullif(everything, false)) = 1),
	CONSTRAINT price_amount_or_adjust CHECK ((amount IS NULL) <> (adjust IS NULL AND surcharge IS NULL)),
	CONSTRAINT price_rounds_adjusted CHECK (round_to IS NULL OR amount IS NULL),
	-- The hash leads because GiST finds numbers four times faster than text. The columns keep it exact, and stand as
	-- expressions so that the planner does not take these for indexes on them.
	CONSTRAINT price_product_no_overlap EXCLUDE USING gist (hashtextextended(product, 0) WITH =, (product || '') WITH =,
		(price_list || '') WITH =, min_quantity WITH =, valid WITH &&) WHERE (product IS NOT NULL),
	CONSTRAINT price_category_no_overlap EXCLUDE USING gist (hashtextextended(category_path, 0) WITH =,
		(category_path || '') WITH =, (price_list || '') WITH =, min_quantity WITH =, valid WITH &&)
		WHERE (category_path IS NOT NULL),
	CONSTRAINT price_everything_no_overlap EXCLUDE USING gist
		((price_list || '') WITH =, min_quantity WITH =, valid WITH &&) WHERE (everything)
);
-- All that quote() reads of a product's prices, which lie apart from each other in the table; in byte order, because to
-- compare codes by a collation takes several times as long.
CREATE INDEX price_product ON omnichannel.price (product text_pattern_ops)
	INCLUDE (price_id, price_list, min_quantity, amount, adjust, surcharge, round_to, valid);
CREATE INDEX price_category ON omnichannel.price (category_path text_pattern_ops) WHERE category_path IS NOT NULL;
CREATE INDEX price_everything ON omnichannel.price (price_list) WHERE everything;
CREATE INDEX price_source ON omnichannel.price (source_price) WHERE source_price IS NOT NULL;
CREATE INDEX price_list_rows ON omnichannel.price (price_list);
COMMENT ON TABLE omnichannel.price IS
'Prices of one unit. Of one list, the row that is nearest to the product answers (variant, parent, deepest category, everything), then the highest min_quantity reached, then the latest start. Two rows of one list for the same target and min_quantity cannot overlap in time (23P01).';
COMMENT ON COLUMN omnichannel.price.price_id IS 'Number, by which explain_quote() names the row.';
COMMENT ON COLUMN omnichannel.price.price_list IS 'The list, whose currency, segments, time and status hold for the row.';
COMMENT ON COLUMN omnichannel.price.created_at IS 'When the row was inserted, in the time of its transaction. Kept where a changed price leaves its past in a row of its own.';
COMMENT ON COLUMN omnichannel.price.product IS 'Target: this product and its variants. Exactly one of product, category and everything is set.';
COMMENT ON COLUMN omnichannel.price.category IS 'Target: all products of this category and those below it. At most 500 bytes (22001).';
COMMENT ON COLUMN omnichannel.price.category_path IS 'The category as text, for the index.';
COMMENT ON COLUMN omnichannel.price.everything IS 'Target: all products.';
COMMENT ON COLUMN omnichannel.price.min_quantity IS 'Holds from this quantity on, for all units; fractions are allowed, of at most 50 decimals.';
COMMENT ON COLUMN omnichannel.price.amount IS 'Price of one unit in the list''s currency.';
COMMENT ON COLUMN omnichannel.price.adjust IS 'Instead of an amount: percent added to the base price; -10 makes it a tenth less.';
COMMENT ON COLUMN omnichannel.price.surcharge IS 'Instead of an amount, added after adjust: money in the list''s currency; -1 makes it one less.';
COMMENT ON COLUMN omnichannel.price.round_to IS 'What adjust and surcharge make is rounded to a multiple of this, as in 0.05.';
COMMENT ON COLUMN omnichannel.price.valid IS 'Half-open: holds from its start, no longer at its end. From now on, where none is given: it answers for no moment before.';
COMMENT ON COLUMN omnichannel.price.source_price IS 'In a derived list: the price that this one is made of.';
CREATE TRIGGER price_derive_inserted AFTER INSERT ON omnichannel.price
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.write_prices('derive_prices');
CREATE TRIGGER price_derive_updated AFTER UPDATE ON omnichannel.price
REFERENCING OLD TABLE AS former NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.write_prices('derive_prices');
CREATE TRIGGER price_keep_past BEFORE UPDATE ON omnichannel.price
FOR EACH ROW WHEN (OLD.source_price IS NULL AND OLD.valid = NEW.valid
	-- One by one: a comparison of rows is dumped in another form than it is restored in.
	AND (OLD.amount IS DISTINCT FROM NEW.amount
		OR OLD.adjust IS DISTINCT FROM NEW.adjust
		OR OLD.surcharge IS DISTINCT FROM NEW.surcharge
		OR OLD.round_to IS DISTINCT FROM NEW.round_to
		OR OLD.min_quantity IS DISTINCT FROM NEW.min_quantity
		OR OLD.product IS DISTINCT FROM NEW.product
		OR OLD.everything IS DISTINCT FROM NEW.everything
		OR OLD.price_list IS DISTINCT FROM NEW.price_list
		OR OLD.category::text IS DISTINCT FROM NEW.category::text))
EXECUTE FUNCTION omnichannel.keep_past_price();
CREATE TRIGGER price_list_derive AFTER INSERT OR UPDATE OF derived_from, derived_adjust, derived_surcharge, derived_round_to, currency, tax_inclusive
ON omnichannel.price_list FOR EACH ROW WHEN (NEW.derived_from IS NOT NULL) EXECUTE FUNCTION omnichannel.write_prices('derive_price_list');
CREATE TRIGGER price_list_underive AFTER UPDATE OF derived_from
ON omnichannel.price_list FOR EACH ROW WHEN (OLD.derived_from IS NOT NULL AND NEW.derived_from IS NULL) EXECUTE FUNCTION omnichannel.write_prices('derive_price_list');
CREATE TRIGGER price_list_derivation BEFORE INSERT OR UPDATE OF derived_from, derived_adjust, derived_surcharge, derived_round_to, derived_since, created_at
ON omnichannel.price_list FOR EACH ROW EXECUTE FUNCTION omnichannel.note_derivation();
CREATE TRIGGER price_list_lock_updated BEFORE UPDATE ON omnichannel.price_list
FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.lock_prices();
CREATE TRIGGER price_list_lock_inserted BEFORE INSERT ON omnichannel.price_list
FOR EACH ROW WHEN (NEW.derived_from IS NOT NULL) EXECUTE FUNCTION omnichannel.lock_prices();
CREATE TRIGGER price_list_approved BEFORE INSERT OR UPDATE OF status, approved_by, approved_at ON omnichannel.price_list
FOR EACH ROW EXECUTE FUNCTION omnichannel.note_approval();
CREATE TRIGGER price_base_amount BEFORE INSERT OR UPDATE OF price_list, amount ON omnichannel.price
FOR EACH ROW WHEN (NEW.amount IS NULL) EXECUTE FUNCTION omnichannel.check_price_base();

CREATE TABLE omnichannel.promotion (
	promotion text PRIMARY KEY CHECK (promotion <> '') CHECK (octet_length(promotion) <= 500 OR omnichannel.refuse_long('promotion', promotion)),
	name text,
	kind text NOT NULL CHECK (kind IN ('percent', 'amount', 'fixed_price', 'buy_get', 'order_percent', 'order_amount')),
	value numeric NOT NULL CHECK (value >= 0 AND value < 1e18),
	cap numeric CHECK (cap > 0 AND cap < 1e18),
	buy_quantity integer CHECK (buy_quantity > 0),
	get_quantity integer CHECK (get_quantity > 0),
	max_units numeric CHECK (max_units > 0 AND max_units < 'Infinity'),
	currency text REFERENCES omnichannel.currency,
	products text[] NOT NULL DEFAULT '{}' CHECK (array_position(products, NULL) IS NULL),
	categories @ltree@.ltree[] NOT NULL DEFAULT '{}' CHECK (array_position(categories::text[], NULL) IS NULL),
	brands text[] NOT NULL DEFAULT '{}' CHECK (array_position(brands, NULL) IS NULL),
	except_products text[] NOT NULL DEFAULT '{}' CHECK (array_position(except_products, NULL) IS NULL),
	except_categories @ltree@.ltree[] NOT NULL DEFAULT '{}' CHECK (array_position(except_categories::text[], NULL) IS NULL),
	except_brands text[] NOT NULL DEFAULT '{}' CHECK (array_position(except_brands, NULL) IS NULL),
	segments_any text[] NOT NULL DEFAULT '{}' CHECK (array_position(segments_any, NULL) IS NULL),
	segments_all text[] NOT NULL DEFAULT '{}' CHECK (array_position(segments_all, NULL) IS NULL),
	min_quantity numeric NOT NULL DEFAULT 0 CHECK (min_quantity >= 0 AND min_quantity < 'Infinity'),
	min_subtotal numeric NOT NULL DEFAULT 0 CHECK (min_subtotal >= 0 AND min_subtotal < 1e18),
	needs_coupon boolean NOT NULL DEFAULT false,
	stage integer NOT NULL DEFAULT 1,
	priority integer NOT NULL DEFAULT 0,
	exclusive boolean NOT NULL DEFAULT false,
	stop boolean NOT NULL DEFAULT false,
	best_of text CHECK (best_of <> ''),
	use_limit bigint CHECK (use_limit >= 0),
	customer_limit bigint CHECK (customer_limit >= 0),
	budget numeric CHECK (budget >= 0 AND budget < 1e18),
	valid tstzrange NOT NULL DEFAULT tstzrange(now(), NULL) CHECK (NOT isempty(valid)),
	status text NOT NULL DEFAULT 'active' CHECK (status IN ('draft', 'approved', 'active', 'retired')),
	approved_by text,
	approved_at timestamptz,
	active tstzmultirange NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT promotion_percent CHECK (value <= 100 OR kind NOT IN ('percent', 'buy_get', 'order_percent')),
	CONSTRAINT promotion_buy_get CHECK ((kind = 'buy_get') = (buy_quantity IS NOT NULL AND get_quantity IS NOT NULL)
		AND (kind = 'buy_get' OR num_nonnulls(buy_quantity, get_quantity) = 0)),
	CONSTRAINT promotion_cap CHECK (cap IS NULL OR kind IN ('percent', 'order_percent')),
	CONSTRAINT promotion_order CHECK (kind NOT IN ('order_percent', 'order_amount')
		OR (max_units IS NULL AND min_quantity = 0 AND best_of IS NULL)),
	CONSTRAINT promotion_currency CHECK (currency IS NOT NULL
		OR (kind IN ('percent', 'buy_get', 'order_percent') AND cap IS NULL AND min_subtotal = 0 AND budget IS NULL))
);
COMMENT ON TABLE omnichannel.promotion IS
'Promotions change the price that the lists give: stage by stage, then by priority (the highest first), exclusive ones first, the larger saving first, then by code. Savings are compared on the price that the lists give.';
COMMENT ON COLUMN omnichannel.promotion.promotion IS 'Code, as answers name it.';
COMMENT ON COLUMN omnichannel.promotion.name IS 'What people read.';
COMMENT ON COLUMN omnichannel.promotion.kind IS 'percent: off one unit; amount: off one unit; fixed_price: one unit, never raised; buy_get: of each buy_quantity + get_quantity units, value percent off the last ones; order_percent and order_amount: off the basket, spread over its lines.';
COMMENT ON COLUMN omnichannel.promotion.value IS 'Percent (at most 100) or money in currency, as the kind says.';
COMMENT ON COLUMN omnichannel.promotion.cap IS 'The most that a percentage takes off one unit (of order_percent: off the basket), in currency.';
COMMENT ON COLUMN omnichannel.promotion.buy_quantity IS 'Of buy_get: units of a line that are paid in full.';
COMMENT ON COLUMN omnichannel.promotion.get_quantity IS 'Of buy_get: units after these from which value percent is taken off.';
COMMENT ON COLUMN omnichannel.promotion.max_units IS 'The most units of one line that it changes; NULL: all.';
COMMENT ON COLUMN omnichannel.promotion.currency IS 'ISO 4217 code of its amounts, for which alone it then holds; NULL: it has none. The company''s where it has amounts and none is named.';
COMMENT ON COLUMN omnichannel.promotion.products IS 'Targets, with their variants. Where products, categories and brands are all empty: everything.';
COMMENT ON COLUMN omnichannel.promotion.categories IS 'Targets, with the categories below them.';
COMMENT ON COLUMN omnichannel.promotion.brands IS 'Targets.';
COMMENT ON COLUMN omnichannel.promotion.except_products IS 'Not these, with their variants; except_categories and except_brands alike.';
COMMENT ON COLUMN omnichannel.promotion.except_categories IS 'Not these, with the categories below them.';
COMMENT ON COLUMN omnichannel.promotion.except_brands IS 'Not these.';
COMMENT ON COLUMN omnichannel.promotion.segments_any IS 'For customers in at least one of these segments; empty: for everyone.';
COMMENT ON COLUMN omnichannel.promotion.segments_all IS 'For customers in all of these segments.';
COMMENT ON COLUMN omnichannel.promotion.min_quantity IS 'From this quantity of the line on.';
COMMENT ON COLUMN omnichannel.promotion.min_subtotal IS 'From this sum of the basket on, in currency: before promotions for those of a line, after them for those of the order.';
COMMENT ON COLUMN omnichannel.promotion.needs_coupon IS 'Holds only with one of its codes in omnichannel.coupon.';
COMMENT ON COLUMN omnichannel.promotion.stage IS 'Promotions of a lower stage come first, and those of the next work on what they leave.';
COMMENT ON COLUMN omnichannel.promotion.priority IS 'Within a stage the highest comes first.';
COMMENT ON COLUMN omnichannel.promotion.exclusive IS 'Skipped where another one has changed the price already; else nothing follows it.';
COMMENT ON COLUMN omnichannel.promotion.stop IS 'Nothing follows it.';
COMMENT ON COLUMN omnichannel.promotion.best_of IS 'Of all with the same word here only the one with the largest saving.';
COMMENT ON COLUMN omnichannel.promotion.use_limit IS 'How often it can be used; see reserve_use().';
COMMENT ON COLUMN omnichannel.promotion.customer_limit IS 'How often one customer can use it.';
COMMENT ON COLUMN omnichannel.promotion.budget IS 'How much money it can give away, in currency.';
COMMENT ON COLUMN omnichannel.promotion.valid IS 'Half-open: holds from its start, no longer at its end. From now on, where none is given.';
COMMENT ON COLUMN omnichannel.promotion.status IS 'Only active ones hold.';
COMMENT ON COLUMN omnichannel.promotion.approved_by IS 'As in price_list.';
COMMENT ON COLUMN omnichannel.promotion.approved_at IS 'As in price_list.';
COMMENT ON COLUMN omnichannel.promotion.created_at IS 'When the row was inserted, in the time of its transaction.';
COMMENT ON COLUMN omnichannel.promotion.active IS 'As in price_list.';
CREATE TRIGGER promotion_approved BEFORE INSERT OR UPDATE OF status, approved_by, approved_at ON omnichannel.promotion
FOR EACH ROW EXECUTE FUNCTION omnichannel.note_approval();
CREATE TRIGGER promotion_note_active BEFORE INSERT OR UPDATE OF status ON omnichannel.promotion
FOR EACH ROW EXECUTE FUNCTION omnichannel.note_active();
CREATE TRIGGER promotion_check BEFORE INSERT OR UPDATE ON omnichannel.promotion
FOR EACH ROW EXECUTE FUNCTION omnichannel.check_promotion();
CREATE TRIGGER promotion_products AFTER INSERT OR UPDATE OF products, except_products ON omnichannel.promotion
FOR EACH ROW EXECUTE FUNCTION omnichannel.check_promotion_products();
CREATE TRIGGER product_unused_deleted AFTER DELETE ON omnichannel.product REFERENCING OLD TABLE AS gone_product
FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.check_product_unused();
CREATE TRIGGER product_unused_updated AFTER UPDATE ON omnichannel.product REFERENCING OLD TABLE AS gone_product
FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.check_product_unused();
CREATE TRIGGER promotion_segments BEFORE INSERT OR UPDATE OF segments_any, segments_all ON omnichannel.promotion
FOR EACH ROW EXECUTE FUNCTION omnichannel.check_segments();

CREATE TABLE omnichannel.coupon (
	coupon text PRIMARY KEY CHECK (coupon = upper(btrim(coupon)) AND coupon <> '')
		CHECK (octet_length(coupon) <= 500 OR omnichannel.refuse_long('coupon', coupon)),
	promotion text NOT NULL REFERENCES omnichannel.promotion,
	batch text CHECK (octet_length(batch) <= 500 OR omnichannel.refuse_long('batch', batch)),
	customer_id bigint REFERENCES omnichannel.customer,
	use_limit bigint CHECK (use_limit >= 0),
	uses bigint NOT NULL DEFAULT 0,
	valid tstzrange NOT NULL DEFAULT tstzrange(now(), NULL) CHECK (NOT isempty(valid)),
	created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX coupon_promotion ON omnichannel.coupon (promotion, batch);
COMMENT ON TABLE omnichannel.coupon IS 'Codes that open a promotion. Case and spaces around a code do not matter to those who type it.';
COMMENT ON COLUMN omnichannel.coupon.coupon IS 'The code, in capitals and without spaces around it.';
COMMENT ON COLUMN omnichannel.coupon.promotion IS 'The promotion that it opens.';
COMMENT ON COLUMN omnichannel.coupon.created_at IS 'When the row was inserted, in the time of its transaction.';
COMMENT ON COLUMN omnichannel.coupon.batch IS 'The call of create_coupons() that made it.';
COMMENT ON COLUMN omnichannel.coupon.customer_id IS 'For this customer only; NULL: for whoever has it.';
COMMENT ON COLUMN omnichannel.coupon.use_limit IS 'How often it can be used: 1 for a single-use code, NULL for any number.';
COMMENT ON COLUMN omnichannel.coupon.valid IS 'Half-open: can be used from its start, no longer at its end. From now on, where none is given.';
COMMENT ON COLUMN omnichannel.coupon.uses IS 'How often it is reserved or used; kept by reserve_use() and release_use().';

CREATE TABLE omnichannel.promotion_use (
	key text NOT NULL CHECK (key <> '') CHECK (octet_length(key) <= 500 OR omnichannel.refuse_long('key', key)),
	promotion text NOT NULL REFERENCES omnichannel.promotion,
	customer_id bigint REFERENCES omnichannel.customer,
	coupon text REFERENCES omnichannel.coupon,
	amount numeric NOT NULL CHECK (amount >= 0 AND amount < 1e18),
	state text NOT NULL DEFAULT 'reserved' CHECK (state IN ('reserved', 'committed', 'released')),
	reserved_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL,
	released_at timestamptz,
	former integer NOT NULL DEFAULT 0 CHECK (former >= 0),
	PRIMARY KEY (key, promotion, former),
	CONSTRAINT promotion_use_released CHECK (state = 'released' OR released_at IS NULL),
	CONSTRAINT promotion_use_former CHECK (former = 0 OR state = 'released')
);
CREATE INDEX promotion_use_customer ON omnichannel.promotion_use (customer_id, promotion);
CREATE INDEX promotion_use_expiry ON omnichannel.promotion_use (expires_at) WHERE state = 'reserved';
CREATE INDEX promotion_use_coupon ON omnichannel.promotion_use (coupon) WHERE coupon IS NOT NULL;
COMMENT ON TABLE omnichannel.promotion_use IS 'Who used which promotion: reserved when an order is placed, committed when it is paid, released when it is not. Written by reserve_use(), commit_use(), release_use() and expire_uses(), which keep coupon.uses and promotion_total in step. What is deleted counts no more; after UPDATE or TRUNCATE by hand these sums are to be set by hand, too.';
COMMENT ON COLUMN omnichannel.promotion_use.key IS 'The application''s own key, as the number of the order: the same key never counts twice.';
COMMENT ON COLUMN omnichannel.promotion_use.promotion IS 'The promotion that is used.';
COMMENT ON COLUMN omnichannel.promotion_use.customer_id IS 'Who uses it; NULL: nobody who is known, or who was erased.';
COMMENT ON COLUMN omnichannel.promotion_use.coupon IS 'The code by which it was opened, or NULL.';
COMMENT ON COLUMN omnichannel.promotion_use.state IS 'reserved, committed or released.';
COMMENT ON COLUMN omnichannel.promotion_use.reserved_at IS 'From when it counts: the start of the transaction that reserved it.';
COMMENT ON COLUMN omnichannel.promotion_use.amount IS 'What it gave away, in the promotion''s currency.';
COMMENT ON COLUMN omnichannel.promotion_use.expires_at IS 'When a reservation that is neither committed nor released is released by expire_uses().';
COMMENT ON COLUMN omnichannel.promotion_use.released_at IS 'When it was released: before that moment it counts, for those who ask about the past.';
COMMENT ON COLUMN omnichannel.promotion_use.former IS '0: the use as it stands. Above it: what the same key held before, released and then reserved again; it counts for its own time.';

CREATE TRIGGER promotion_use_deleted AFTER DELETE ON omnichannel.promotion_use REFERENCING OLD TABLE AS deleted
FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.give_back_deleted();

CREATE TABLE omnichannel.promotion_total (
	promotion text PRIMARY KEY REFERENCES omnichannel.promotion ON DELETE CASCADE,
	uses bigint NOT NULL DEFAULT 0,
	spent numeric NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE omnichannel.promotion_total IS 'The sums of promotion_use for promotions with a limit, reserved and committed; the row is the lock that keeps them exact.';

CREATE TABLE omnichannel.promotion_used_up (
	promotion text NOT NULL REFERENCES omnichannel.promotion ON DELETE CASCADE,
	since timestamptz NOT NULL,
	until timestamptz,
	PRIMARY KEY (promotion, since)
);
CREATE TRIGGER promotion_keep_total AFTER INSERT OR UPDATE OF use_limit, budget ON omnichannel.promotion
FOR EACH ROW EXECUTE FUNCTION omnichannel.keep_promotion_total();
COMMENT ON TABLE omnichannel.promotion_used_up IS 'When nothing was left of promotions; kept by reserve_use() and release_use(), and cached.';
COMMENT ON COLUMN omnichannel.promotion_total.promotion IS 'A promotion with use_limit or budget.';
COMMENT ON COLUMN omnichannel.promotion_total.uses IS 'Uses that are reserved or committed.';
COMMENT ON COLUMN omnichannel.promotion_total.spent IS 'The sum of their amounts, in the promotion''s currency.';
COMMENT ON COLUMN omnichannel.promotion_used_up.promotion IS 'The promotion.';
COMMENT ON COLUMN omnichannel.promotion_used_up.since IS 'When its last use, or the last of its budget, was reserved.';
COMMENT ON COLUMN omnichannel.promotion_used_up.until IS 'When something came back; NULL: nothing is left now.';

CREATE TABLE omnichannel.omnibus_rule (
	country text PRIMARY KEY CHECK (country ~ '^[A-Z]{2}$'),
	lookback_days integer NOT NULL DEFAULT 30 CHECK (lookback_days BETWEEN 1 AND 3660),
	progressive boolean NOT NULL DEFAULT false,
	progressive_days integer CHECK (progressive_days BETWEEN 1 AND 3660),
	perishables text NOT NULL DEFAULT 'same' CHECK (perishables IN ('same', 'exempt', 'before_first')),
	services boolean NOT NULL DEFAULT false,
	new_products text NOT NULL DEFAULT 'since_first_offer' CHECK (new_products IN ('since_first_offer', 'exempt')),
	personalised_exempt boolean NOT NULL DEFAULT true,
	time_zone text NOT NULL CHECK (omnichannel.check_time_zone(time_zone)),
	source text NOT NULL DEFAULT 'Directive 98/6/EC article 6a(1) and (2), inserted by Directive (EU) 2019/2161; national options not entered: check them'
);
COMMENT ON TABLE omnichannel.omnibus_rule IS
'How a country wants a reduced price compared: with the lowest price of the days before the reduction (Directive 98/6/EC article 6a, inserted by Directive (EU) 2019/2161). Personal reductions: Commission notice 2021/C 526/02, no. 2.3. Not legal advice: check the rows of the countries that you sell in.';
COMMENT ON COLUMN omnichannel.omnibus_rule.country IS 'ISO 3166-1 alpha-2; EU for the directive itself.';
COMMENT ON COLUMN omnichannel.omnibus_rule.lookback_days IS 'Calendar days before the day on which the reduction began. Article 6a(2): not shorter than 30; fewer are taken for a rule of another law.';
COMMENT ON COLUMN omnichannel.omnibus_rule.progressive IS 'Whether an unbroken series of ever deeper cuts counts as one reduction, compared with the price before its first cut: article 6a(5). The first offer is no cut: see lowest_price().';
COMMENT ON COLUMN omnichannel.omnibus_rule.progressive_days IS 'Calendar days from its first cut for which such a series counts as one; after them each cut counts by itself. NULL: without a limit.';
COMMENT ON COLUMN omnichannel.omnibus_rule.perishables IS 'Goods that perish, article 6a(3): same rule, exempt, or the price before the first cut.';
COMMENT ON COLUMN omnichannel.omnibus_rule.services IS 'Whether the rule holds for services too; the directive is on goods.';
COMMENT ON COLUMN omnichannel.omnibus_rule.new_products IS 'Products on offer for less than lookback_days, article 6a(4): the lowest price since they were first offered, or exempt.';
COMMENT ON COLUMN omnichannel.omnibus_rule.personalised_exempt IS 'Whether reductions for one person are exempt; see the argument personalised of lowest_price().';
COMMENT ON COLUMN omnichannel.omnibus_rule.time_zone IS 'IANA name of the zone in which days are counted.';
COMMENT ON COLUMN omnichannel.omnibus_rule.source IS 'Where the rule is written, and what of it this row cannot say.';
INSERT INTO omnichannel.omnibus_rule (country, time_zone) VALUES
('EU', @time_zone@),
('BE', 'Europe/Brussels'),
('BG', 'Europe/Sofia'),
('CY', 'Asia/Nicosia'),
('DK', 'Europe/Copenhagen'),
('EE', 'Europe/Tallinn'),
('ES', 'Europe/Madrid'),
('GR', 'Europe/Athens'),
('HR', 'Europe/Zagreb'),
('HU', 'Europe/Budapest'),
('IE', 'Europe/Dublin'),
('LT', 'Europe/Vilnius'),
('LU', 'Europe/Luxembourg'),
('LV', 'Europe/Riga'),
('MT', 'Europe/Malta'),
('NL', 'Europe/Amsterdam'),
('PT', 'Europe/Lisbon'),
('RO', 'Europe/Bucharest'),
('SE', 'Europe/Stockholm'),
('SI', 'Europe/Ljubljana'),
('SK', 'Europe/Bratislava');
INSERT INTO omnichannel.omnibus_rule (country, progressive, progressive_days, perishables, services, time_zone, source) VALUES
('AT', true, NULL, 'exempt', false, 'Europe/Vienna', 'Preisauszeichnungsgesetz, section 9a(1) to (3), BGBl. 146/1992 as amended by BGBl. I 110/2022; goods that perish: only where the reduction is for their best-before date'),
('CZ', true, NULL, 'exempt', false, 'Europe/Prague', 'Act 634/1992 on consumer protection, section 12a(1)(a) to (c) and (2), inserted by Act 374/2022'),
('DE', true, NULL, 'exempt', false, 'Europe/Berlin', 'Price Indication Ordinance (PAngV) of 12 November 2021, section 11(1), (2) and (4): (2) series without interruption, (4) individual reductions; goods that perish: only where reduced because they may spoil, and marked so'),
('FI', true, 60, 'same', false, 'Europe/Helsinki', 'Consumer Protection Act 38/1978, chapter 2, section 11, as amended by Act 693/2022: a series for at most 60 days; goods, not services. Whether goods that perish are exempt: check'),
('FR', true, NULL, 'exempt', false, 'Europe/Paris', 'Code de la consommation, article L112-1-1 I, inserted by ordonnance 2021-1734: successive reductions during a fixed period; goods that perish: only those threatened by rapid deterioration'),
('IT', true, NULL, 'exempt', false, 'Europe/Rome', 'Codice del consumo, article 17-bis(2) to (5), inserted by d.lgs. 26/2023: (3) perishable agricultural products and food, (4) products on the market for less than 30 days, (5) series in one campaign without interruption'),
('PL', false, NULL, 'before_first', true, 'Europe/Warsaw', 'Act of 9 May 2014 on information about prices of goods and services, article 4(2) to (5), Dz.U. 2023 item 168: (3) products offered for less than 30 days, (4) goods that perish, (5) advertisements');

CREATE TABLE omnichannel.price_staging (
	line bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	price_list text,
	product text,
	category text,
	everything boolean NOT NULL DEFAULT false,
	min_quantity numeric NOT NULL DEFAULT 0,
	amount numeric,
	adjust numeric,
	surcharge numeric,
	round_to numeric,
	valid tstzrange
);
COMMENT ON TABLE omnichannel.price_staging IS
'Prices to come: COPY them here, then call apply_prices(), which applies all that is here, whoever staged it. Columns as in price; valid NULL: from now on. One transaction at a time writes here, from its first line to its end: who stages and applies in one applies nobody else''s.';
COMMENT ON COLUMN omnichannel.price_staging.line IS 'Number of the line, by which problems name it.';
COMMENT ON COLUMN omnichannel.price_staging.price_list IS 'Code of the list.';
COMMENT ON COLUMN omnichannel.price_staging.product IS 'Target: this product and its variants. Exactly one of product, category and everything is to be set.';
COMMENT ON COLUMN omnichannel.price_staging.category IS 'Target: path of a category, as text.';
COMMENT ON COLUMN omnichannel.price_staging.everything IS 'Target: all products.';
COMMENT ON COLUMN omnichannel.price_staging.min_quantity IS 'Holds from this quantity on.';
COMMENT ON COLUMN omnichannel.price_staging.amount IS 'Price of one unit in the list''s currency.';
COMMENT ON COLUMN omnichannel.price_staging.adjust IS 'Instead of an amount: percent added to the base price.';
COMMENT ON COLUMN omnichannel.price_staging.surcharge IS 'Instead of an amount, added after adjust: money in the list''s currency.';
COMMENT ON COLUMN omnichannel.price_staging.round_to IS 'What comes out of adjust and surcharge is rounded to a multiple of this.';
COMMENT ON COLUMN omnichannel.price_staging.valid IS 'When it holds; NULL: from the start of the transaction that applies it.';
CREATE TRIGGER price_staging_written BEFORE INSERT OR UPDATE OR DELETE ON omnichannel.price_staging
FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.stage_prices();

SELECT omnichannel.create_config_cache('price_rules', 'price_list', 'segment', 'currency', 'promotion', 'omnibus_rule');
SELECT omnichannel.create_config_cache('promotion_used_up', 'promotion_used_up');
SELECT omnichannel.create_config_cache('price', 'price', 'product');
SELECT omnichannel.create_config_cache('segment_member', 'segment_member');
-- A merge changes the segments of the customer that is kept.
CREATE TRIGGER "00_config_changed_segment_member" AFTER DELETE OR UPDATE OF customer_id, merged_into ON omnichannel.customer
FOR EACH ROW EXECUTE FUNCTION omnichannel.invalidate_cache('segment_member');
CREATE TRIGGER "00_config_truncated_segment_member" AFTER TRUNCATE ON omnichannel.customer
FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.invalidate_cache('segment_member');
ALTER TABLE omnichannel.customer ENABLE ALWAYS TRIGGER "00_config_changed_segment_member",
	ENABLE ALWAYS TRIGGER "00_config_truncated_segment_member";
