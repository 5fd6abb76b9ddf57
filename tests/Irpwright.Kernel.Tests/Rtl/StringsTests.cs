using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Rtl;

public sealed class StringsTests : IDisposable
{
    readonly Machine machine = new();

    public void Dispose() => machine.Dispose();

    Strings Strings => machine.Strings;

    ulong Pool(int size) => machine.Pool.Allocate(NonPagedPoolNx, (ulong)size, 1, 0);

    PUNICODE_STRING Constant(string text) => Strings.Constant(text);

    /// <summary>A string with room for some characters and a text in it.</summary>
    PUNICODE_STRING Buffer(int characters, string text = "")
    {
        PUNICODE_STRING result = new(Pool(16));
        Strings.RtlInitEmptyUnicodeString(result, new PWSTR(Pool(Math.Max(1, 2 * characters))), (ushort)(2 * characters));
        Strings.RtlCopyUnicodeString(result, Constant(text));
        return result;
    }

    PANSI_STRING Ansi(string text)
    {
        PANSI_STRING result = new(Pool(16));
        ulong bytes = Pool(text.Length + 1);
        Encoding.Latin1.GetBytes(text + "\0").CopyTo(GuestMemory.Write(bytes, text.Length + 1));
        Strings.RtlInitAnsiString(result, new PUCHAR(bytes));
        return result;
    }

    [Fact]
    public void A_constant_is_interned_terminated_and_read_only()
    {
        PUNICODE_STRING constant = Constant(@"\Device\Disk");
        Assert.Equal(constant, Constant(@"\Device\Disk"));
        Assert.Equal((24, 26), (constant.Length, constant.MaximumLength));
        Assert.Equal(@"\Device\Disk", Strings.Read(constant.Buffer));
        Assert.Throws<GuestFaultException>(() => { GuestMemory.Write(constant.Buffer.Address, 2); });
        for (int i = 0; i < 2000; i++) Constant($"constant number {i}");
        Assert.Equal("constant number 7", Strings.Read(Constant("constant number 7")));
        Assert.Equal(40_000 / 2, Strings.Read(Constant(new string('x', 20_000))).Length);
        Assert.Throws<ArgumentException>(() => Constant(new string('x', 40_000)));
    }

    [Fact]
    public void Reading_a_string_names_the_address_that_cannot_be_read()
    {
        PUNICODE_STRING bad = new(Pool(16));
        bad.Value = new UNICODE_STRING { Length = 8, MaximumLength = 8, Buffer = new PWSTR(0xFFFFA000_00000010) };
        Assert.Equal(0xFFFFA000_00000010, Assert.Throws<GuestFaultException>(() => Strings.Read(bad)).Address);
        Assert.Equal("", Strings.Read(default(PUNICODE_STRING)));
    }

    [Fact]
    public void RtlInitUnicodeString_counts_up_to_the_terminator_even_across_pages()
    {
        ulong pages = machine.Memory.NonPagedPool.Allocate(8192, PageAccess.ReadWrite);
        // At an odd address, so that one character lies in both pages.
        ulong text = pages + 4096 - 5;
        Encoding.Unicode.GetBytes("abcdefg\0").CopyTo(GuestMemory.Write(text, 16));
        PUNICODE_STRING result = new(Pool(16));
        Strings.RtlInitUnicodeString(result, new PWSTR(text));
        Assert.Equal((14, 16, text), (result.Length, result.MaximumLength, result.Buffer.Address));
        Strings.RtlInitUnicodeString(result, default(PWSTR));
        Assert.Equal((0, 0, 0ul), (result.Length, result.MaximumLength, result.Buffer.Address));
        Strings.RtlInitUnicodeString(result, "from C#");
        Assert.Equal("from C#", Strings.Read(result));
    }

    [Fact]
    public void RtlInitUnicodeString_stays_within_16_bits()
    {
        ulong text = Pool(200_000);
        GuestMemory.Write(text, 199_998).Fill((byte)'x');
        GuestMemory.Write(text + 199_998, 2).Clear();
        PUNICODE_STRING result = new(Pool(16));
        Strings.RtlInitUnicodeString(result, new PWSTR(text));
        Assert.Equal((0xFFFC, 0xFFFE), (result.Length, result.MaximumLength));
    }

    [Theory]
    [InlineData(10, "short", "short"), InlineData(5, "exact", "exact"), InlineData(3, "too long", "too")]
    public void RtlCopyUnicodeString_copies_what_fits(int room, string text, string expected)
    {
        PUNICODE_STRING result = Buffer(room, "x");
        Strings.RtlCopyUnicodeString(result, Constant(text));
        Assert.Equal(expected, Strings.Read(result));
        Assert.Equal(2 * room, result.MaximumLength);
        Strings.RtlCopyUnicodeString(result, default);
        Assert.Equal("", Strings.Read(result));
    }

    [Fact]
    public void Appending_changes_nothing_when_there_is_no_room()
    {
        PUNICODE_STRING result = Buffer(8, "abc");
        Assert.Equal(STATUS_SUCCESS, Strings.RtlAppendUnicodeToString(result, Constant("de").Buffer));
        Assert.Equal(STATUS_SUCCESS, Strings.RtlAppendUnicodeStringToString(result, Constant("fgh")));
        Assert.Equal("abcdefgh", Strings.Read(result));
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, Strings.RtlAppendUnicodeToString(result, "i"));
        Assert.Equal(STATUS_SUCCESS, Strings.RtlAppendUnicodeToString(result, default(PWSTR)));
        Assert.Equal("abcdefgh", Strings.Read(result));
    }

    [Theory]
    [InlineData("abc", "abc", false, 0), InlineData("abc", "abd", false, -1), InlineData("ABC", "abc", false, -32)]
    [InlineData("ABC", "abc", true, 0)]
    [InlineData("ab", "abc", true, -1), InlineData("straÄe", "STRAäE", true, 0), InlineData("", "", true, 0)]
    public void Strings_compare_by_code_unit(string first, string second, bool ignoreCase, int expected)
    {
        Assert.Equal(expected, Strings.RtlCompareUnicodeString(Constant(first), Constant(second), ignoreCase));
        Assert.Equal(expected == 0, (bool)Strings.RtlEqualUnicodeString(Constant(first), Constant(second), ignoreCase));
    }

    [Theory]
    [InlineData(@"\Dev", @"\device", true, true), InlineData(@"\Dev", @"\device", false, false), InlineData("longer", "long", true, false)]
    [InlineData("", "x", true, true)]
    public void A_prefix_is_found(string prefix, string text, bool ignoreCase, bool expected) =>
        Assert.Equal(expected, (bool)Strings.RtlPrefixUnicodeString(Constant(prefix), Constant(text), ignoreCase));

    [Fact]
    public void Upper_case_goes_to_a_given_or_an_allocated_buffer()
    {
        Assert.Equal('Ä', Strings.RtlUpcaseUnicodeChar('ä'));
        PUNICODE_STRING given = Buffer(3);
        Assert.Equal(STATUS_SUCCESS, Strings.RtlUpcaseUnicodeString(given, Constant("aß1"), false));
        Assert.Equal("Aß1", Strings.Read(given));
        Assert.Equal(STATUS_BUFFER_OVERFLOW, Strings.RtlUpcaseUnicodeString(given, Constant("four"), false));
        machine.Run(() =>
        {
            PUNICODE_STRING allocated = new(Pool(16));
            Assert.Equal(STATUS_SUCCESS, Strings.RtlUpcaseUnicodeString(allocated, Constant("allocated"), true));
            Assert.Equal("ALLOCATED", Strings.Read(allocated));
            Strings.RtlFreeUnicodeString(allocated);
            Assert.True(allocated.Buffer.IsNull);
        });
    }

    [Fact]
    public void Ansi_and_Unicode_convert_through_code_page_1252()
    {
        machine.Run(() =>
        {
            PANSI_STRING ansi = new(Pool(16));
            Assert.Equal(STATUS_SUCCESS, Strings.RtlUnicodeStringToAnsiString(ansi, Constant("a€中"), true));
            Assert.Equal([0x61, 0x80, 0x3F, 0], GuestMemory.Read(ansi.Buffer.Address, 4).ToArray());
            Assert.Equal((3, 4), (ansi.Length, ansi.MaximumLength));
            PUNICODE_STRING unicode = new(Pool(16));
            Assert.Equal(STATUS_SUCCESS, Strings.RtlAnsiStringToUnicodeString(unicode, ansi, true));
            Assert.Equal("a€?", Strings.Read(unicode));
            Strings.RtlFreeAnsiString(ansi);
            Strings.RtlFreeUnicodeString(unicode);
            Assert.True(ansi.Buffer.IsNull && unicode.Buffer.IsNull);

            PUNICODE_STRING small = Buffer(4, "");
            Assert.Equal(STATUS_BUFFER_OVERFLOW, Strings.RtlAnsiStringToUnicodeString(small, Ansi("four"), false));
            Assert.Equal(STATUS_SUCCESS, Strings.RtlAnsiStringToUnicodeString(small, Ansi("thr"), false));
            Assert.Equal("thr", Strings.Read(small));
        });
    }

    [Fact]
    public void Conversions_report_when_memory_is_short()
    {
        machine.Pool.FailAllocation = (_, tag) => tag == 0x67747253;
        PUNICODE_STRING result = new(Pool(16));
        Assert.Equal(STATUS_NO_MEMORY, Strings.RtlAnsiStringToUnicodeString(result, Ansi("x"), true));
        Assert.False(Strings.RtlCreateUnicodeString(result, Constant("x").Buffer));
        machine.Pool.FailAllocation = null;
        Assert.True(Strings.RtlCreateUnicodeString(result, Constant("copy").Buffer));
        Assert.Equal("copy", Strings.Read(result));
    }

    [Theory]
    [InlineData(0xABCu, 16u, "ABC"), InlineData(10u, 2u, "1010"), InlineData(8u, 8u, "10"), InlineData(uint.MaxValue, 0u, "4294967295")]
    [InlineData(0u, 10u, "0")]
    public void A_number_is_written_in_its_base(uint value, uint numberBase, string expected)
    {
        PUNICODE_STRING result = Buffer(expected.Length + 1);
        Assert.Equal(STATUS_SUCCESS, Strings.RtlIntegerToUnicodeString(value, numberBase, result));
        Assert.Equal(expected, Strings.Read(result));
        Assert.Equal(STATUS_BUFFER_OVERFLOW, Strings.RtlIntegerToUnicodeString(value, numberBase, Buffer(expected.Length)));
        Assert.Equal(STATUS_INVALID_PARAMETER, Strings.RtlIntegerToUnicodeString(value, 7, result));
    }

    // The first nine are the table of the documentation page.
    [Theory]
    [InlineData("123", 10u, 123), InlineData("-345", 10u, -345), InlineData("xyz", 10u, 0), InlineData("+678abc", 10u, 678)]
    [InlineData("+678abc", 16u, 6785724)]
    [InlineData("007", 10u, 7), InlineData("789", 8u, 7), InlineData("FGH", 16u, 15), InlineData(" ", 10u, 0)]
    [InlineData("0x1F", 0u, 31), InlineData("-0b101", 0u, -5), InlineData("0o17", 0u, 15), InlineData("17", 0u, 17)]
    public void A_number_is_read_as_documented(string text, uint numberBase, int expected)
    {
        Assert.Equal(STATUS_SUCCESS, Strings.RtlUnicodeStringToInteger(Constant(text), numberBase, out uint value));
        Assert.Equal(expected, (int)value);
    }

    [Fact]
    public void An_empty_string_is_no_number() =>
        Assert.Equal(STATUS_INVALID_PARAMETER, Strings.RtlUnicodeStringToInteger(Constant(""), 10, out _));

    [Fact]
    public void RtlInitString_counts_up_to_the_terminator()
    {
        PANSI_STRING source = Ansi("hello");
        PANSI_STRING target = new(Pool(16));
        Strings.RtlInitString(target, source.Buffer);
        Assert.Equal((5, 6, source.Buffer), (target.Length, target.MaximumLength, target.Buffer));
    }
}
