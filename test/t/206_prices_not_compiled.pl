# Plans that look dearer than they are would be compiled at each call, which takes many times as long as to run them.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('compiled', conf => "fsync = off\njit = on\nauto_explain.log_level = notice\n");
omni_setup($node);
$node->safe_psql('postgres', q{
	SET search_path = omnichannel;
	INSERT INTO product (product) VALUES ('p'), ('q');
	INSERT INTO price_list (price_list) VALUES ('shop');
	INSERT INTO price (price_list, product, amount) VALUES ('shop', 'p', 10), ('shop', 'q', 20);
	SELECT lock_quote(NULL, 'p'), shown_price('app', 'p', 11);
	UPDATE price SET amount = 12 WHERE product = 'p';
	INSERT INTO price_staging (price_list, product, amount) VALUES ('shop', 'q', 21);
});
my %inner = (
	'verify_quote(1)' => qr/FULL JOIN after/,
	'check_shown_prices()' => qr/UPDATE omnichannel\.shown_price/,
	'apply_prices()' => qr/INSERT INTO omnichannel\.price /);
foreach my $call (sort keys %inner)
{
	$node->psql('postgres', qq{
		LOAD 'auto_explain';
		SET auto_explain.log_nested_statements = on;
		SET auto_explain.log_analyze = on;
		SET auto_explain.log_min_duration = 0;
		SELECT * FROM omnichannel.$call;
	}, stderr => \my $plans, on_error_stop => 1);
	like($plans, $inner{$call}, "what $call runs is shown");
	unlike($plans, qr/^JIT:/m, 'and not compiled');
}
$node->stop;
done_testing();
