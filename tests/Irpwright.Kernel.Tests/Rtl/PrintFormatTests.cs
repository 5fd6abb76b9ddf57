using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Rtl;

public sealed class PrintFormatTests : IDisposable
{
    readonly Machine machine = new();

    public void Dispose() => machine.Dispose();

    ulong Pool(ulong size) => machine.Pool.Allocate(NonPagedPoolNx, size, 1, 0);

    ulong Narrow(string text)
    {
        byte[] bytes = [.. Encoding.Latin1.GetBytes(text), 0];
        ulong address = Pool((ulong)bytes.Length);
        bytes.CopyTo(GuestMemory.Write(address, bytes.Length));
        return address;
    }

    ulong Wide(string text) => machine.Strings.Constant(text).Buffer.Address;

    PVOID List(params ulong[] arguments)
    {
        ulong list = Pool((ulong)arguments.Length * 8 + 8);
        for (int i = 0; i < arguments.Length; i++) GuestMemory.Ref<ulong>(list + 8 * (ulong)i) = arguments[i];
        return new PVOID(list);
    }

    string Format(string format, params ulong[] arguments) =>
        PrintFormat.Format(format, VariadicArguments.FromList(List(arguments)), isWide: false);

    [Theory]
    [InlineData("plain, 100%%", "plain, 100%")]
    [InlineData("%d %i", "-5 -6", -5L, -6L)]
    [InlineData("%u", "4294967291", -5L)]
    [InlineData("%x %X %#x %#X", "beef BEEF 0xbeef 0XBEEF", 0xBEEFL, 0xBEEFL, 0xBEEFL, 0xBEEFL)]
    [InlineData("%x", "ffffffff", -1L)]
    [InlineData("%#x", "0", 0L)]
    [InlineData("%o %#o", "17 017", 15L, 15L)]
    [InlineData("%ld %lu", "-1 4294967295", -1L, -1L)]
    [InlineData("%lld %llu %I64d %I64x", "-1 18446744073709551615 -2 fffffffffffffffe", -1L, -1L, -2L, -2L)]
    [InlineData("%I32d %Id %zu", "-1 4294967296 4294967297", -1L, 0x1_0000_0000L, 0x1_0000_0001L)]
    [InlineData("%hd %hu %hx %hhd", "-1 65535 ffff -1", 0x1FFFFL, 0x1FFFFL, 0x1FFFFL, 0xFFL)]
    [InlineData("%lld", "-9223372036854775808", long.MinValue)]
    [InlineData("%p", "FFFFA00000012340", unchecked((long)0xFFFFA000_00012340))]
    [InlineData("[%5d] [%-5d] [%05d] [%+d] [% d]", "[   42] [42   ] [00042] [+42] [ 42]", 42L, 42L, 42L, 42L, 42L)]
    [InlineData("[%05d] [%-05d] [%+05d]", "[-0042] [-42  ] [+0042]", -42L, -42L, 42L)]
    [InlineData("[%8.3d] [%.3d] [%08.3d]", "[     042] [-042] [     042]", 42L, -42L, 42L)]
    [InlineData("[%.0d] [%.0x] [%.d]", "[] [] []", 0L, 0L, 0L)]
    [InlineData("[%#010x] [%#.4x]", "[0x0000002a] [0x002a]", 42L, 42L)]
    [InlineData("[%*d] [%-*d] [%*d] [%.*d]", "[   1] [2   ] [3   ] [0004]", 4L, 1L, 4L, 2L, -4L, 3L, 4L, 4L)]
    [InlineData("%c%c [%3c]", "AB [  C]", 65L, 66L, 67L)]
    [InlineData("%y %! %", "%y %! %")]
    [InlineData("%5y|%d", "%5y|7", 7L)]
    [InlineData("%f %d", "%f 8", 7L, 8L)]
    [InlineData("%s %S %Z %wZ", "(null) (null) (null) (null)", 0L, 0L, 0L, 0L)]
    public void Conversions_are_those_of_the_C_run_time(string format, string expected, params long[] arguments) =>
        Assert.Equal(expected, Format(format, [.. arguments.Select(a => (ulong)a)]));

    [Fact]
    public void Text_is_narrow_or_wide_as_the_conversion_says()
    {
        ulong narrow = Narrow("narrow"), wide = Wide("wide");
        Assert.Equal("narrow wide narrow wide wide", Format("%s %S %hs %ls %ws", narrow, wide, narrow, wide, wide));
        Assert.Equal("Ä€", Format("%C%wc", 'Ä', '€'));
        Assert.Equal("[  nar] [nar  ] [nar]", Format("[%5.3s] [%-5.3s] [%.*s]", narrow, narrow, 3, narrow));
    }

    [Fact]
    public void A_precision_keeps_text_without_terminator_from_being_overread()
    {
        ulong page = machine.Memory.NonPagedPool.Allocate(8192, PageAccess.ReadWrite);
        machine.Memory.Protect(page + 4096, 4096, PageAccess.None);
        "abcd"u8.CopyTo(GuestMemory.Write(page + 4092, 4));
        Assert.Equal("abcd", Format("%.4s", page + 4092));
        Assert.Equal(page + 4096, Assert.Throws<GuestFaultException>(() => Format("%s", page + 4092)).Address);
    }

    [Fact]
    public void Counted_strings_are_printed_by_their_length()
    {
        PUNICODE_STRING wide = new(Pool(16));
        wide.Value = machine.Strings.Constant("counted").Value;
        wide.Length = 10;
        PANSI_STRING narrow = new(Pool(16));
        machine.Strings.RtlInitAnsiString(narrow, new PUCHAR(Narrow("ansi")));
        Assert.Equal("[count] [  count] [ansi] [ansi]",
            Format("[%wZ] [%7wZ] [%Z] [%hZ]", wide.Address, wide.Address, narrow.Address, narrow.Address));
    }

    [Fact]
    public unsafe void Arguments_come_from_registers_first_and_then_from_the_stack()
    {
        ulong stack = Pool(0x100);
        ulong* gpr = stackalloc ulong[16];
        gpr[4] = stack;
        (gpr[1], gpr[2], gpr[8], gpr[9]) = (99, 1, 2, 3);
        for (ulong i = 0; i < 4; i++) GuestMemory.Ref<ulong>(stack + 0x28 + 8 * i) = 4 + i;
        Assert.Equal("1 2 3 4 5 6 7", PrintFormat.Format("%d %d %d %d %d %d %d", new VariadicArguments(gpr, 1), isWide: false));
        Assert.Equal("4 5", PrintFormat.Format("%d %d", new VariadicArguments(gpr, 4), isWide: false));
    }

    [Fact]
    public void DbgPrint_becomes_an_event_of_at_most_512_characters()
    {
        var observer = new Observer();
        machine.Events.Add(observer);
        machine.DebugOutput.vDbgPrintEx(77, 0, new PUCHAR(Narrow("value %d\n")), List(5), caller: 0x1234);
        machine.DebugOutput.vDbgPrintExWithPrefix(new PUCHAR(Narrow("disk: ")), 77, 0, new PUCHAR(Narrow("ok")), List());
        machine.DebugOutput.KdPrint("managed");
        machine.DebugOutput.DbgPrint(new string('x', 600));
        Assert.Equal([("value 5\n", 0x1234ul), ("disk: ok", 0ul), ("managed", 0ul), (new string('x', 512), 0ul)], observer.Printed);
    }

    [Fact]
    public void A_failed_assertion_is_printed_and_raised()
    {
        var observer = new Observer();
        machine.Events.Add(observer);
        NtStatusException raised = Assert.Throws<NtStatusException>(() =>
            machine.DebugOutput.RtlAssert(new PVOID(Narrow("x > 0")), new PVOID(Narrow("disk.c")), 42, default));
        Assert.Equal(STATUS_ASSERTION_FAILURE, raised.Status);
        Assert.Equal("*** Assertion failed: x > 0\n***   Source File: disk.c, line 42\n", observer.Printed.Single().Text);
    }

    [Fact]
    public void A_breakpoint_that_nobody_handles_stops_the_machine()
    {
        BugCheckReport report = Crash.Of(m => m.DebugOutput.DbgBreakPoint());
        Assert.Equal(unchecked((uint)STATUS_BREAKPOINT), report.Parameter1);
    }

    [Fact]
    public void KeBugCheckEx_stops_with_the_drivers_own_parameters()
    {
        BugCheckReport report = Crash.Of(m => m.BugChecks.KeBugCheckEx(MANUALLY_INITIATED_CRASH, 1, 2, 3, 4));
        Assert.Equal((MANUALLY_INITIATED_CRASH, 1ul, 2ul, 3ul, 4ul),
            (report.Code, report.Parameter1, report.Parameter2, report.Parameter3, report.Parameter4));
    }

    sealed class Observer : KernelObserver
    {
        public List<(string Text, ulong Caller)> Printed { get; } = [];

        public override void On(in DebugPrinted e) => Printed.Add((e.Text, e.Caller));
    }

    public class Into_a_buffer : IDisposable
    {
        readonly PrintFormatTests outer = new();
        readonly PUCHAR buffer;

        public Into_a_buffer()
        {
            buffer = new PUCHAR(outer.Pool(64));
            GuestMemory.Write(buffer.Address, 64).Fill((byte)'#');
        }

        public void Dispose()
        {
            outer.Dispose();
            GC.SuppressFinalize(this);
        }

        CRuntime C => outer.machine.CRuntime;

        string Content(int length) => Encoding.Latin1.GetString(GuestMemory.Read(buffer.Address, length));

        [Fact]
        public void Text_that_fits_is_terminated()
        {
            Assert.Equal(6, C._vsnprintf(buffer, 10, new PUCHAR(outer.Narrow("abc%03d")), outer.List(7)));
            Assert.Equal("abc007\0#", Content(8));
        }

        [Fact]
        public void Text_of_exactly_the_count_is_not_terminated()
        {
            Assert.Equal(6, C._vsnprintf(buffer, 6, new PUCHAR(outer.Narrow("abc%03d")), outer.List(7)));
            Assert.Equal("abc007##", Content(8));
        }

        [Fact]
        public void Longer_text_is_cut_and_gives_minus_one()
        {
            Assert.Equal(-1, C._vsnprintf(buffer, 5, new PUCHAR(outer.Narrow("abc%03d")), outer.List(7)));
            Assert.Equal("abc00###", Content(8));
        }

        [Fact]
        public void Wide_routines_take_and_give_wide_text()
        {
            PWSTR wide = new(buffer.Address);
            Assert.Equal(9, C._vsnwprintf(wide, 20, new PWSTR(outer.Wide("%s-%S-%c")),
                outer.List(outer.Wide("wide"), outer.Narrow("ab"), 'c')));
            Assert.Equal("wide-ab-c", Strings.Read(wide));
        }
    }
}
