using System.IO.Compression;
using Irpwright.Guest.Images;
using Irpwright.Guest.Symbols;
using Irpwright.Kernel;

namespace Irpwright.Guest.Tests.Symbols;

/// <summary>Names and source lines out of images that gcc, clang and lld made from Material/lines.c.</summary>
public sealed class SymbolTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("irpwright").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    static byte[] Material(string name)
    {
        using var packed = new GZipStream(typeof(SymbolTests).Assembly.GetManifestResourceStream(name + ".gz")!, CompressionMode.Decompress);
        using var bytes = new MemoryStream();
        packed.CopyTo(bytes);
        return bytes.ToArray();
    }

    /// <summary>Writes files of the material under their own or other names; returns the path of the first.</summary>
    string Write(params (string Material, string As)[] files)
    {
        foreach ((string material, string name) in files) File.WriteAllBytes(Path.Combine(folder, name), Material(material));
        return Path.Combine(folder, files[0].As);
    }

    static PortableExecutable Read(string path)
    {
        Assert.True(PortableExecutable.TryReadFile(path, out PortableExecutable? image, out ImageDiagnostic? error), error?.ToString());
        return image;
    }

    [Theory]
    [InlineData("gcc")]
    [InlineData("clang")]
    [InlineData("msvc")]
    public void A_crash_is_reported_with_functions_and_source_lines(string compiler)
    {
        string path = compiler == "msvc" ? Write(("msvc.sys", "msvc.sys"), ("msvc.pdb", "msvc.pdb")) : Write(($"{compiler}.sys", $"{compiler}.sys"));
        using var machine = new Machine(new MachineOptions { ChecksMemory = CheckedMode.Here });
        var drivers = new GuestDrivers(machine);
        Assert.True(drivers.TryRead(path, out DriverImage? image, out ImageDiagnostic? error), error?.ToString());
        BugCheckReport report = Assert.Throws<BugCheckException>(() => drivers.Start(image, out _)).Report;
        Assert.Equal(
            [("ReadThrough", "lines.c @ 9"), ("Twice", "lines.c @ 14"), ("DriverEntry", "lines.c @ 22")],
            report.CallStack.Select(frame => (frame.Symbol.Split('!', '+')[1], frame.Line)));
        Assert.Matches($@"^{compiler}!ReadThrough\+0x\d \[lines\.c @ 9\]$", report.CallStack[0].ToString());
    }

    [Theory]
    [InlineData("gcc", "COFF symbol table, DWARF")]
    [InlineData("clang", "COFF symbol table, exports, DWARF")]
    public void What_symbols_come_from_is_told(string compiler, string sources) =>
        Assert.Equal(sources, string.Join(", ", Read(Write(($"{compiler}.sys", "x.sys"))).SymbolSources));

    [Theory]
    [InlineData("driver.sys", "driver.pdb")]
    [InlineData("driver.sys", "msvc.pdb")]
    public void A_PDB_file_is_found_beside_the_image_under_either_name(string image, string pdb)
    {
        PortableExecutable read = Read(Write(("msvc.sys", image), ("msvc.pdb", pdb)));
        Assert.Equal([Path.Combine(folder, pdb)], read.SymbolSources);
        Assert.Equal("DriverEntry", read.SymbolAt(read.EntryPoint)?.ToString());
        SourceLine line = Assert.NotNull(read.LineAt(read.EntryPoint));
        Assert.EndsWith("lines.c", line.File, StringComparison.Ordinal);
        Assert.InRange(line.Number, 19, 22);
    }

    [Fact]
    public void Without_debug_information_there_are_no_lines()
    {
        PortableExecutable read = Read(Write(("msvc.sys", "msvc.sys")));
        Assert.Empty(read.SymbolSources);
        Assert.Null(read.LineAt(read.EntryPoint));
        Assert.Null(read.SymbolAt(read.EntryPoint));
    }

    [Fact]
    public void A_PDB_file_of_another_build_is_not_used()
    {
        string path = Write(("msvc.sys", "msvc.sys"), ("msvc.pdb", "msvc.pdb"));
        byte[] bytes = File.ReadAllBytes(path);
        int record = bytes.AsSpan().IndexOf("RSDS"u8);
        bytes[record + 4]++;
        File.WriteAllBytes(path, bytes);
        Assert.Empty(Read(path).SymbolSources);
    }

    [Fact]
    public void An_image_from_memory_reads_no_files()
    {
        string path = Write(("msvc.sys", "msvc.sys"), ("msvc.pdb", "msvc.pdb"));
        Assert.True(PortableExecutable.TryRead(path, File.ReadAllBytes(path), out PortableExecutable? image, out _));
        Assert.Empty(image.SymbolSources);
    }

    [Fact]
    public void Lines_begin_where_the_compiler_says_and_end_with_the_function()
    {
        PortableExecutable read = Read(Write(("gcc.sys", "gcc.sys")));
        uint end = read.Functions[^1].EndAddress;
        int[] lines = [.. Enumerable.Range((int)read.EntryPoint, (int)(end - read.EntryPoint)).Select(rva => read.LineAt((uint)rva)?.Number ?? 0).Distinct()];
        Assert.All(lines, line => Assert.InRange(line, 19, 24));
        Assert.Contains(22, lines);
        Assert.Null(read.LineAt(read.Sections[0].VirtualAddress - 1));
    }

    /// <summary>Whatever is in a debug section or a PDB file, reading it ends, and with nothing worse than wrong lines.</summary>
    [Theory]
    [InlineData("gcc.sys")]
    [InlineData("clang.sys")]
    [InlineData("msvc.pdb")]
    public void Damaged_debug_information_does_no_harm(string material)
    {
        byte[] good = Material(material);
        Guid signature = material.EndsWith("pdb", StringComparison.Ordinal) ? Read(Write(("msvc.sys", "msvc.sys"))).CodeView!.Signature : default;
        var random = new Random(1);
        for (int i = 0; i < 500; i++)
        {
            byte[] bytes = [.. good];
            for (int change = random.Next(1, 6); change > 0; change--)
            {
                // Beyond the headers, which are not the point here.
                int at = random.Next(0x400, bytes.Length);
                bytes[at] = random.Next(3) switch { 0 => 0xFF, 1 => 0, _ => (byte)random.Next(256) };
            }
            if (signature != default)
            {
                PdbFile.TryRead(bytes[..random.Next(bytes.Length / 2, bytes.Length)], signature);
                PdbFile.TryRead(bytes, signature)?.Lines.Find(0x1000);
            }
            else if (PortableExecutable.TryRead("x.sys", bytes, out PortableExecutable? image, out _))
            {
                image.LineAt(image.EntryPoint);
                image.SymbolAt(image.EntryPoint);
            }
        }
    }

    [Theory]
    [InlineData("/home/me/driver.c", "driver.c @ 7")]
    [InlineData(@"C:\src\driver.c", "driver.c @ 7")]
    [InlineData("driver.c", "driver.c @ 7")]
    public void A_line_is_shown_without_the_path_of_the_build_machine(string file, string text) => Assert.Equal(text, new SourceLine(file, 7).ToString());
}
