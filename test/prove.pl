# prove.pl: runs test files that speak TAP and writes "passed failed skipped" to a file.
#
# usage: prove.pl tap|pgtap JOBS COUNT_FILE FILE...
# Perl tests run as they are; an SQL file runs in a database of its own, see pgtap.sh. A file that dies, or keeps not to
# its plan, counts as one more failure.
use strict;
use warnings;
use TAP::Harness;

my ($kind, $jobs, $count_file, @files) = @ARGV;

# The workshop's server, which tests of their own servers use, says where its folders are.
$ENV{PG_CONFIG} = "$ENV{SERVER_BIN}/pg_config";

my $harness = TAP::Harness->new(
	{
		jobs => $jobs,
		errors => 1,
		color => 0,
		$kind eq 'pgtap' ? (exec => [ 'sh', 'test/pgtap.sh' ], failures => 1, comments => 1) : (),
	});
$harness->callback(
	made_parser => sub {
		my ($parser, $job) = @_;
		$parser->callback(
			test => sub {
				my ($test) = @_;
				print "\nskipped: ", $job->[1], ": ", $test->explanation, "\n" if $test->has_skip;
			});
	});
my $results = $harness->runtests(@files);
my ($passed, $failed, $skipped) = (0, 0, 0);

for my $parser ($results->parsers)
{
	my $broken = scalar $parser->failed;

	$broken = 1 if $broken == 0 && ($parser->has_problems || $parser->tests_run == 0 && !defined $parser->skip_all);
	$failed += $broken;
	$passed += scalar($parser->passed) - scalar($parser->skipped);
	$skipped += scalar $parser->skipped;
	$skipped++ if defined $parser->skip_all;
}
for my $file (@files)
{
	my ($parser) = $results->parsers($file);
	my ($name) = $file =~ m{([^/]+)\.pl$};

	print "skipped: $file: ", $parser->skip_all, "\n" if defined $parser->skip_all;
	if ($kind eq 'tap' && ($parser->failed || $parser->has_problems))
	{
		print "the end of what $file logged:\n";
		system('tail', '-n', '40', "$ENV{TESTDIR}/tmp_check/log/regress_log_$name");
	}
}

open my $count, '>', $count_file or die "could not write $count_file: $!";
print $count "$passed $failed $skipped\n";
close $count;
exit($failed > 0 ? 1 : 0);
