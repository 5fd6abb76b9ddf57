using CsCheck;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.FsRtl;

public class FileNameTests : DriverTest
{
    PUNICODE_STRING Text(string text) => RTL_CONSTANT_STRING(text);

    [Theory]
    [InlineData("*", "a.txt", true)]
    [InlineData("*", "", false)]
    [InlineData("", "a", false)]
    [InlineData("", "", true)]
    [InlineData("A*.TXT", "abc.txt", true)]
    [InlineData("A*.TXT", "abc.tx", false)]
    [InlineData("?B?", "abc", true)]
    [InlineData("?B?", "ab", false)]
    [InlineData("<.TXT", "a.b.txt", true)] // DOS_STAR: up to the last dot
    [InlineData("<B.TXT", "a.b.txt", true)]
    [InlineData("<T", "a.txt", false)]
    [InlineData("A>>>.TXT", "ab.txt", true)] // DOS_QM: fewer are enough before a dot
    [InlineData("A>>>", "ab", true)]
    [InlineData("A>", "abc", false)]
    [InlineData("ABC\"*", "abc", true)] // DOS_DOT: a dot, or the end
    [InlineData("ABC\"*", "abc.txt", true)]
    [InlineData("ABC\"*", "abcd", false)]
    [InlineData("<\"*", "a.b", true)]
    public void A_name_matches_a_pattern_as_in_a_directory_listing(string pattern, string name, bool matches) => Run(() =>
        Assert.Equal(matches, (bool)FsRtlIsNameInExpression(Text(pattern), Text(name), true, default)));

    [Fact]
    public void Stars_and_question_marks_match_what_a_regular_expression_says() => Run(() =>
    {
        Gen.Select(Gen.Char["AB*?"].Array[1, 6], Gen.Char["AB"].Array[1, 8]).Sample((p, n) =>
        {
            string pattern = new(p), name = new(n);
            string regular = $"^{pattern.Replace("*", ".*", StringComparison.Ordinal).Replace('?', '.')}$";
            Assert.Equal(System.Text.RegularExpressions.Regex.IsMatch(name, regular), (bool)FsRtlIsNameInExpression(Text(pattern), Text(name), false, default));
        }, iter: 300, threads: 1);
    });

    [Fact]
    public void Case_counts_unless_told_otherwise_and_the_table_decides() => Run(() =>
    {
        PWSTR table = new(Memory(0x20000).Address);
        for (int i = 0; i < 0x10000; i++) table[i] = i == 'x' ? 'Y' : (char)i;
        Assert.False(FsRtlIsNameInExpression(Text("A"), Text("a"), false, default));
        Assert.True(FsRtlIsNameInExpression(Text("aY"), Text("ax"), true, table));
        Assert.True(FsRtlAreNamesEqual(Text("name"), Text("NAME"), true, default));
        Assert.False(FsRtlAreNamesEqual(Text("name"), Text("NAME"), false, default));
        Assert.False(FsRtlAreNamesEqual(Text("name"), Text("NAME"), true, table));
        Assert.True(FsRtlAreNamesEqual(Text("x"), Text("Y"), true, table));
    });

    [Theory]
    [InlineData("plain.txt", false)]
    [InlineData("a*", true)]
    [InlineData("a?b", true)]
    [InlineData("<", true)]
    [InlineData("a>", true)]
    [InlineData("\"a", true)]
    public void Wildcards_are_recognized(string name, bool has) => Run(() => Assert.Equal(has, (bool)FsRtlDoesNameContainWildCards(Text(name))));

    [Theory]
    [InlineData("", "", "")]
    [InlineData("A", "A", "")]
    [InlineData(@"A\B\C", "A", @"B\C")]
    [InlineData(@"\A", "A", "")]
    [InlineData(@"A\\B;\C", "A", @"\B;\C")]
    public void A_path_is_taken_apart_name_by_name(string path, string first, string rest) => Run(() =>
    {
        PUNICODE_STRING whole = Text(path), name = new(Memory(32).Address), remaining = new(name.Address + 16);
        FsRtlDissectName(whole, name, remaining);
        Assert.Equal((first, rest), (Strings.Read(name), Strings.Read(remaining)));
        if (first.Length > 0) Assert.InRange(name.Buffer.Address, whole.Buffer.Address, whole.Buffer.Address + 2);
    });

    [Fact]
    public void Exceptions_that_tell_of_bugs_are_not_expected() => Run(() =>
    {
        Assert.True(FsRtlIsNtstatusExpected(STATUS_DISK_FULL));
        Assert.False(FsRtlIsNtstatusExpected(STATUS_ACCESS_VIOLATION));
        Assert.Equal(STATUS_DISK_FULL, FsRtlNormalizeNtstatus(STATUS_DISK_FULL, STATUS_UNEXPECTED_IO_ERROR));
        Assert.Equal(STATUS_UNEXPECTED_IO_ERROR, FsRtlNormalizeNtstatus(STATUS_ILLEGAL_INSTRUCTION, STATUS_UNEXPECTED_IO_ERROR));
    });

    [Fact]
    public void A_thread_remembers_on_whose_behalf_it_works() => Run(() =>
    {
        Assert.True(IoGetTopLevelIrp().IsNull);
        IoSetTopLevelIrp(new PIRP(2)); // FSRTL_CACHE_TOP_LEVEL_IRP
        PKEVENT done = Event();
        Start(() =>
        {
            Step($"{IoGetTopLevelIrp().IsNull}");
            KeSetEvent(done, 0, false);
        });
        Wait(done);
        Assert.Equal((2ul, "True"), (IoGetTopLevelIrp().Address, Steps[0]));
        IoSetTopLevelIrp(default);
    });

    [Fact]
    public void Volume_parameter_blocks_have_one_spin_lock() => Run(() =>
    {
        IoAcquireVpbSpinLock(out byte old);
        Assert.Equal((PASSIVE_LEVEL, DISPATCH_LEVEL), (old, KeGetCurrentIrql()));
        Start(() =>
        {
            IoAcquireVpbSpinLock(out byte irql);
            Step("other");
            IoReleaseVpbSpinLock(irql);
        });
        Step("own");
        IoReleaseVpbSpinLock(old);
        Eventually(() => Steps.Count == 2);
        Assert.Equal(["own", "other"], Steps);
    });

    [Theory]
    [InlineData(1, 0x30, true)]
    [InlineData(6, 0, true)]
    [InlineData(6, 1, false)]
    [InlineData(7, 0, false)]
    public void The_version_of_WDM_is_that_of_Windows_10(byte major, byte minor, bool isAvailable) => Run(() =>
        Assert.Equal(isAvailable, (bool)IoIsWdmVersionAvailable(major, minor)));

    [Fact]
    public void Features_of_the_processor_are_those_of_the_shared_page() => Run(() =>
    {
        const uint compareExchange = 2, noSuchFeature = 60, outside = 64;
        Assert.True(ExIsProcessorFeaturePresent(compareExchange));
        Assert.False(ExIsProcessorFeaturePresent(noSuchFeature));
        Assert.False(ExIsProcessorFeaturePresent(outside));
    });
}
