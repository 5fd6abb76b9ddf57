using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Rtl;

/// <summary>Routines of the C run time with variable arguments: C# drivers do not have them, so they are called as compiled code does.</summary>
public sealed unsafe class CRuntimeTests : DriverTest
{
    PUCHAR Narrow(string text)
    {
        byte[] bytes = [.. Encoding.Latin1.GetBytes(text), 0];
        PVOID memory = Memory(bytes.Length);
        bytes.CopyTo(GuestMemory.Write(memory.Address, bytes.Length));
        return new PUCHAR(memory.Address);
    }

    PWSTR Wide(string text) => RTL_CONSTANT_STRING(text + "\0").Buffer;

    /// <summary>Calls by the Microsoft x64 convention: four arguments in registers, the others behind the home space on the stack.</summary>
    ulong Call(string name, params ulong[] arguments)
    {
        ulong stack = Memory(0x100).Address;
        for (int i = 4; i < arguments.Length; i++) GuestMemory.Ref<ulong>(stack + 8 + 8 * (ulong)i) = arguments[i];
        ulong* registers = stackalloc ulong[16];
        registers[4] = stack;
        ReadOnlySpan<int> order = [1, 2, 8, 9];
        for (int i = 0; i < Math.Min(4, arguments.Length); i++) registers[order[i]] = arguments[i];
        KernelExports.Find(name)!.Thunk(Machine, registers);
        return registers[0];
    }

    int sprintf(PUCHAR buffer, string format, params ulong[] arguments) => (int)Call("sprintf", [buffer.Address, Narrow(format).Address, .. arguments]);

    int _snprintf(PUCHAR buffer, ulong count, string format, params ulong[] arguments) =>
        (int)Call("_snprintf", [buffer.Address, count, Narrow(format).Address, .. arguments]);

    int swprintf(PWSTR buffer, string format, params ulong[] arguments) => (int)Call("swprintf", [buffer.Address, Wide(format).Address, .. arguments]);

    int _snwprintf(PWSTR buffer, ulong count, string format, params ulong[] arguments) =>
        (int)Call("_snwprintf", [buffer.Address, count, Wide(format).Address, .. arguments]);

    static string Text(PUCHAR text, int length) => Encoding.Latin1.GetString(Bytes(new PVOID(text.Address), length));

    static string Text(PWSTR text, int length) => Encoding.Unicode.GetString(Bytes(new PVOID(text.Address), 2 * length));

    [Fact]
    public void Texts_are_printed_with_arguments_in_registers_and_on_the_stack() => Run(() =>
    {
        PUCHAR narrow = new(Memory(64).Address);
        Assert.Equal(13, sprintf(narrow, "%d %d %d %d %s", 1, 2, 3, 44, Narrow("five").Address));
        Assert.Equal("1 2 3 44 five\0", Text(narrow, 14));
        PWSTR wide = new(Memory(64).Address);
        Assert.Equal(9, swprintf(wide, "%d %ws %X", 1, Wide("two").Address, 0xBEE));
        Assert.Equal("1 two BEE\0", Text(wide, 10));
        PVOID list = Memory(16);
        GuestMemory.Ref<ulong>(list.Address) = 77;
        Assert.Equal(2, vsprintf(narrow, Narrow("%u"), list));
        Assert.Equal("77\0", Text(narrow, 3));
    });

    [Fact]
    public void What_does_not_fit_is_cut_off_without_terminator() => Run(() =>
    {
        PUCHAR narrow = new(Memory(64).Address);
        Fill(narrow, 64);
        Assert.Equal(-1, _snprintf(narrow, 4, "%s", Narrow("12345").Address));
        Assert.Equal("1234\u0084", Text(narrow, 5));
        Assert.Equal(4, _snprintf(narrow, 4, "%s", Narrow("abcd").Address));
        Assert.Equal("abcd\u0084", Text(narrow, 5));
        PWSTR wide = new(Memory(64).Address);
        Assert.Equal(-1, _snwprintf(wide, 2, "%d", 123));
        Assert.Equal("12\0", Text(wide, 3));
    });

    [Fact]
    public void Letters_have_an_upper_and_a_lower_form() => Run(() =>
    {
        Assert.Equal(('a', 'z', '1', 'A', 'Z', '1'),
            ((char)tolower('A'), (char)tolower('z'), (char)tolower('1'), (char)toupper('a'), (char)toupper('Z'), (char)toupper('1')));
        Assert.Equal(('\u00E4', '\u00C4'), (towlower('\u00C4'), towupper('\u00E4')));
    });

    [Fact]
    public void Wide_copies_are_padded_and_lengths_are_limited() => Run(() =>
    {
        PWSTR target = new(Memory(64).Address);
        Fill(target, 64);
        Assert.Equal(target, wcsncpy(target, Wide("ab"), 4));
        Assert.Equal("ab\0\0", Text(target, 4));
        wcsncpy(target, Wide("wxyz"), 2);
        Assert.Equal("wx\0\0", Text(target, 4));
        Assert.Equal((2ul, 1ul), (wcsnlen(target, 10), wcsnlen(target, 1)));
    });

    [Fact]
    public void A_break_point_is_an_exception_that_nobody_takes() => Run(() =>
        Assert.Equal(STATUS_BREAKPOINT, Assert.Throws<NtStatusException>(() => DbgBreakPointWithStatus(5)).Status));

    [Fact]
    public void What_a_driver_prints_for_a_component_is_told() => Run(() =>
    {
        var messages = new Messages();
        Machine.Events.Add(messages);
        Assert.Equal(STATUS_SUCCESS, DbgPrintEx(77, 0, "careful"));
        Assert.Equal((ulong)STATUS_SUCCESS, Call("DbgPrintEx", 77, 0, Narrow("%d of %d\n").Address, 1, 2));
        Assert.Equal(["careful", "1 of 2\n"], messages.Seen);
    });

    [Fact]
    public void A_software_trace_message_finds_no_session() => Run(() => Assert.Equal(STATUS_INVALID_HANDLE, WmiTraceMessage(1, 0)));

    NTSTATUS WmiTraceMessage(ulong session, uint flags) => (NTSTATUS)(int)Call("WmiTraceMessage", session, flags, 0, 10);

    sealed class Messages : KernelObserver
    {
        public List<string> Seen { get; } = [];

        public override void On(in DebugPrinted e) => Seen.Add(e.Text);
    }

    /// <summary>Compilers rely on it: the size of the frame is in rax, arguments are in the other registers.</summary>
    [Fact]
    public unsafe void A_stack_probe_keeps_all_registers() => Run(() =>
    {
        ulong* registers = stackalloc ulong[16];
        for (int i = 0; i < 16; i++) registers[i] = 0x1234_5678_0000 + (ulong)i;
        registers[4] = Memory(8).Address; // rsp, with the return address
        ulong[] before = new Span<ulong>(registers, 16).ToArray();
        Assert.True(Machine.Code.InvokeTrap(Machine.SystemRoutines.Find("__chkstk")!.Value, registers));
        Assert.Equal(before, new Span<ulong>(registers, 16).ToArray());
        __chkstk();
    });
}
