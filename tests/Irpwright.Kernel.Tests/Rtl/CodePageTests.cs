using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Rtl;

public class CodePageTests : DriverTest
{
    [Fact]
    public void Texts_are_converted_as_far_as_there_is_room() => Run(() =>
    {
        PUCHAR narrow = new(Memory(16).Address);
        new byte[] { 0x61, 0x80, 0xFC }.CopyTo(GuestMemory.Write(narrow.Address, 3));
        PWSTR wide = new(Memory(32).Address);
        PULONG written = new(Memory(4).Address);
        Assert.Equal(STATUS_SUCCESS, RtlMultiByteToUnicodeN(wide, 32, written, narrow, 3));
        Assert.Equal(("a\u20AC\u00FC", 6u), (Encoding.Unicode.GetString(Bytes(wide, 6)), written.Value));
        Assert.Equal(STATUS_SUCCESS, RtlMultiByteToUnicodeN(wide, 5, written, narrow, 3));
        Assert.Equal(4u, written.Value);
        RtlMultiByteToUnicodeSize(out uint size, narrow, 3);
        Assert.Equal(6u, size);

        PWSTR source = RTL_CONSTANT_STRING("b\u20AC\u4E2D").Buffer;
        Assert.Equal(STATUS_SUCCESS, RtlUnicodeToMultiByteN(narrow, 16, written, source, 6));
        Assert.Equal([0x62, 0x80, 0x3F], Bytes(narrow, 3));
        Assert.Equal(3u, written.Value);
        RtlUnicodeToMultiByteN(narrow, 2, written, source, 6);
        Assert.Equal(2u, written.Value);
        RtlUnicodeToMultiByteSize(out size, source, 6);
        Assert.Equal(3u, size);
    });

    [Fact]
    public void One_character_is_converted_and_passed() => Run(() =>
    {
        PUCHAR text = new(Memory(2).Address), start = text;
        GuestMemory.Ref<byte>(text.Address) = 0x80;
        Assert.Equal('\u20AC', RtlAnsiCharToUnicodeChar(ref text));
        Assert.Equal(start.Address + 1, text.Address);
    });

    [Fact]
    public void Sizes_of_counted_strings_include_the_terminator() => Run(() =>
    {
        var ansi = new PANSI_STRING(Memory(16).Address);
        ansi.Length = 3;
        Assert.Equal(8u, RtlxAnsiStringToUnicodeSize(ansi));
        Assert.Equal(4u, RtlxUnicodeStringToAnsiSize(RTL_CONSTANT_STRING("abc")));
    });

    [Fact]
    public void Counted_ANSI_strings_are_compared() => Run(() =>
    {
        PANSI_STRING first = Ansi("disk"), second = Ansi("DISK"), longer = Ansi("disks");
        Assert.True(RtlCompareString(first, second, false) > 0);
        Assert.Equal(0, RtlCompareString(first, second, true));
        Assert.True(RtlCompareString(first, longer, false) < 0);
        Assert.True(RtlEqualString(first, second, true));
        Assert.False(RtlEqualString(first, second, false));
        Assert.False(RtlEqualString(first, longer, true));
    });

    PANSI_STRING Ansi(string text)
    {
        var result = new PANSI_STRING(Memory(16).Address);
        PVOID bytes = Memory(text.Length + 1);
        Encoding.Latin1.GetBytes(text).CopyTo(GuestMemory.Write(bytes.Address, text.Length));
        RtlInitAnsiString(result, new PUCHAR(bytes.Address));
        return result;
    }

    [Fact]
    public void GUIDs_are_written_with_braces_and_read_back() => Run(() =>
    {
        var guid = new Guid("4d36e97d-e325-11ce-bfc1-08002be10318");
        PVOID memory = Memory(16), back = Memory(16);
        guid.ToByteArray().CopyTo(GuestMemory.Write(memory.Address, 16));
        var text = new PUNICODE_STRING(Memory(16).Address);
        Assert.Equal(STATUS_SUCCESS, RtlStringFromGUID(memory, text));
        Assert.Equal("{4D36E97D-E325-11CE-BFC1-08002BE10318}", Encoding.Unicode.GetString(Bytes(text.Buffer, text.Length)));
        Assert.Equal(STATUS_SUCCESS, RtlGUIDFromString(text, back));
        Assert.Equal(Bytes(memory, 16), Bytes(back, 16));
        RtlFreeUnicodeString(text);
        Assert.Equal(STATUS_INVALID_PARAMETER, RtlGUIDFromString(RTL_CONSTANT_STRING("4D36E97D"), back));
    });
}
