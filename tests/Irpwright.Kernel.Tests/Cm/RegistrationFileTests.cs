using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Cm;

public sealed class RegistrationFileTests : IDisposable
{
    const string Header = "Windows Registry Editor Version 5.00\r\n\r\n";

    readonly Machine machine = new();

    public void Dispose() => machine.Dispose();

    void Read(string text) => RegistrationFile.Read(machine.Registry, text, "test.reg");

    RegistryKey Key(string name) => machine.Registry.Find(@"\Registry\Machine\" + name)!;

    [Fact]
    public void All_kinds_of_values_are_read()
    {
        Read(Header + """
            ; what a driver reads
            [HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\disk\Parameters]
            @="default"
            "Path"="C:\\dir \"x\""
            "Number"=dword:0000beef
            "Bytes"=hex:01,02,\
              03,ff
            "Expand"=hex(2):25,00,00,00
            "Large"=hex(b):01,00,00,00,00,00,00,00
            "Nothing"=hex(0):
            """);
        RegistryKey key = Key(@"System\ControlSet001\Services\disk\Parameters");
        string[] read = [.. key.Values.Select(v => $"{v.Name}/{v.Type}/{Convert.ToHexString(v.Data)}")];
        Assert.Equal(
        [
            "/1/" + Convert.ToHexString(Encoding.Unicode.GetBytes("default\0")), "Path/1/" + Convert.ToHexString(Encoding.Unicode.GetBytes("C:\\dir \"x\"\0")),
            "Number/4/EFBE0000", "Bytes/3/010203FF", "Expand/2/25000000", "Large/11/0100000000000000", "Nothing/0/",
        ], read);
    }

    [Fact]
    public void Keys_and_values_with_a_minus_sign_are_deleted()
    {
        Read(Header + "[HKLM\\Software\\A\\B]\n\"x\"=\"1\"\n\"y\"=\"2\"\n[HKLM\\Software\\C]\n");
        Read(Header + "[HKLM\\Software\\A\\B]\n\"x\"=-\n[-HKLM\\Software\\C]\n[-HKLM\\Software\\Nowhere]\n");
        Assert.Equal(["y"], Key(@"Software\A\B").Values.Select(v => v.Name));
        Assert.Null(machine.Registry.Find(@"\Registry\Machine\Software\C"));
    }

    [Theory]
    [InlineData("[HKLM\\x]", 1, "begins with")]
    [InlineData(Header + "\"x\"=\"1\"", 3, "before the first key")]
    [InlineData(Header + "[HKEY_X\\y]", 3, "root key")]
    [InlineData(Header + "[HKLM\\y", 3, "ends with ]")]
    [InlineData(Header + "[HKLM\\y]\nname=1", 4, "expected [key]")]
    [InlineData(Header + "[HKLM\\y]\n\n\"x", 5, "closing quotation mark")]
    [InlineData(Header + "[HKLM\\y]\n\"x\" \"1\"", 4, "expected =")]
    [InlineData(Header + "[HKLM\\y]\n\"x\"=dword:xyz", 4, "no dword")]
    [InlineData(Header + "[HKLM\\y]\n\"x\"=hex:1,zz", 4, "zz is no byte")]
    [InlineData(Header + "[HKLM\\y]\n\"x\"=hex(:1", 4, "no type")]
    [InlineData(Header + "[HKLM\\y]\n\"x\"=7", 4, "none of")]
    [InlineData(Header + "[HKLM\\y]\n\"x\"=\"1\" 2", 4, "behind the end")]
    [InlineData(Header + "[-HKLM\\y]\n\"x\"=\"1\"", 4, "no values")]
    [InlineData("", 1, "begins with")]
    public void A_wrong_line_is_named(string text, int line, string problem)
    {
        RegistrationFileException error = Assert.Throws<RegistrationFileException>(() => Read(text));
        Assert.Equal(("test.reg", line), (error.File, error.Line));
        Assert.Contains(problem, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Both_encodings_of_files_are_read()
    {
        foreach (Encoding encoding in (Encoding[])[Encoding.Unicode, new UTF8Encoding(true), new UTF8Encoding(false)])
        {
            string file = Path.GetTempFileName();
            File.WriteAllText(file, Header + $"[HKLM\\Software\\{encoding.CodePage}]\n\"\u00FC\"=\"\u20AC\"\n", encoding);
            RegistrationFile.Load(machine.Registry, file);
            File.Delete(file);
            Assert.Equal("\u00FC", Key($@"Software\{encoding.CodePage}").Values.Single().Name);
        }
    }
}
