using System.Reflection.PortableExecutable;
using Irpwright.Guest.Images;
using Irpwright.Wdk;
using static Irpwright.Guest.Tests.Images.ImageBuilder;

namespace Irpwright.Guest.Tests.Images;

public class PortableExecutableTests
{
    internal static PortableExecutable Read(byte[] bytes)
    {
        Assert.True(PortableExecutable.TryRead("driver.sys", bytes, out PortableExecutable? image, out ImageDiagnostic? error),
            error?.ToString());
        return image;
    }

    [Fact]
    public void Headers_and_sections_agree_with_PEReader()
    {
        byte[] bytes = Driver().Build();
        PortableExecutable image = Read(bytes);
        using var oracle = new PEReader(new MemoryStream(bytes));
        PEHeader header = oracle.PEHeaders.PEHeader!;
        Assert.Equal(header.ImageBase, image.ImageBase);
        Assert.Equal(header.SizeOfImage, (int)image.SizeOfImage);
        Assert.Equal(header.AddressOfEntryPoint, (int)image.EntryPoint);
        Assert.Equal(oracle.PEHeaders.SectionHeaders.Select(s => (s.Name, s.VirtualAddress, s.VirtualSize, (uint)s.SectionCharacteristics)),
            image.Sections.Select(s => (s.Name, (int)s.VirtualAddress, (int)s.VirtualSize, (uint)s.Characteristics)));
        Assert.Empty(image.Warnings);
    }

    [Fact]
    public void Contents_are_laid_out_as_in_memory()
    {
        PortableExecutable image = Read(Driver().Build());
        ReadOnlySpan<byte> contents = image.Contents.Span;
        Assert.Equal("MZ"u8, contents[..2]);
        Assert.Equal(0xC3, contents[0x102F]);
        Assert.Equal(Quadwords(0x2B99_2DDF_A232), contents.Slice(0x3000, 8).ToArray());
        Assert.False(contents[0x3018..0x5000].ContainsAnyExcept((byte)0));
    }

    [Fact]
    public void Section_access_follows_characteristics_and_names()
    {
        PortableExecutable image = Read(Driver().Section("both", Code | Data, [0xC3]).Build());
        Assert.Equal(
            [
                (".text", PageAccess.Read | PageAccess.Execute),
                (".rdata", PageAccess.Read),
                (".data", PageAccess.ReadWrite),
                (".idata", PageAccess.ReadWrite),
                ("PAGEcode", PageAccess.Read | PageAccess.Execute | PageAccess.Pageable),
                ("INIT", PageAccess.Read | PageAccess.Execute),
                (".reloc", PageAccess.Read),
                ("both", PageAccess.Read | PageAccess.Execute),
            ],
            image.Sections.Select(section => (section.Name, section.Access)));
        Assert.Equal(["INIT", ".reloc"], image.Sections.Where(section => section.IsDiscardable).Select(section => section.Name));
        Assert.Equal("section both", Assert.Single(image.Warnings).Place);
    }

    [Fact]
    public void Imports_are_listed_by_name_and_ordinal_with_their_slots()
    {
        PortableExecutable image = Read(Driver().Build());
        const uint slots = 0x5000 + 3 * 20 + 6 * 8;
        Assert.Equal(
            [
                new("ntoskrnl.exe", "IoCreateDevice", null, slots), new("ntoskrnl.exe", "IofCompleteRequest", null, slots + 8),
                new("ntoskrnl.exe", "", 7, slots + 16), new("HAL.dll", "KeStallExecutionProcessor", null, slots + 32),
            ],
            image.Imports);
        Assert.Equal("ntoskrnl.exe!#7", image.Imports[2].ToString());
    }

    [Fact]
    public void Imports_without_a_lookup_table_are_read_from_the_address_table()
    {
        byte[] bytes = Driver().Build();
        PortableExecutable expected = Read(bytes);
        int descriptor = (int)expected.Sections.Single(section => section.Name == ".idata").PointerToRawData;
        Put32(bytes, descriptor, 0);
        Assert.Equal(expected.Imports, Read(bytes).Imports);
    }

    /// <summary>
    /// The definition's hash, computed apart from the reader: <c>printf
    /// ntoskrnl.exe.iocreatedevice,ntoskrnl.exe.iofcompleterequest,ntoskrnl.exe.ord7,hal.kestallexecutionprocessor | md5sum</c>.
    /// </summary>
    [Fact]
    public void Import_hash_is_the_MD5_of_the_imports_in_order() =>
        Assert.Equal("f00e9ea69778fae58969ce56944e2501", Read(Driver().Build()).ImportHash);

    [Fact]
    public void Delay_imports_are_listed_apart()
    {
        ImageBuilder builder = Driver();
        uint rva = builder.NextRva;
        byte[] table = [
            .. Doublewords(1, rva + 96, 0, rva + 80, rva + 64, 0, 0, 0), .. new byte[32],
            .. Quadwords(rva + 110, 0, 0x1_4000_1000, 0), .. "fltmgr.sys\0\0\0\0"u8, 0, 0, .. "FltSend\0"u8];
        PortableExecutable image = Read(builder.Section("delay", Data, table).Directory(13, rva, 64).Build());
        Assert.Equal([new ImageImport("fltmgr.sys", "FltSend", null, rva + 80)], image.DelayImports);
        Assert.Equal(4, image.Imports.Length);
    }

    [Fact]
    public void Exports_have_ordinals_and_forwarders()
    {
        PortableExecutable image = Read(Driver()
            .Exports(5, ("DllInitialize", 0x1010u), ("", 0x1020u), ("Other", "hal.KeFlushWriteBuffer")).Build());
        Assert.Equal([("DllInitialize", 5u, 0x1010u, ""), ("", 6u, 0x1020u, "")],
            image.Exports.Where(export => export.Forwarder == "")
                .Select(export => (export.Name, export.Ordinal, export.Rva, export.Forwarder)));
        ImageExport forwarded = Assert.Single(image.Exports, export => export.Forwarder != "");
        Assert.Equal(("Other", 7u, "hal.KeFlushWriteBuffer"), (forwarded.Name, forwarded.Ordinal, forwarded.Forwarder));
    }

    [Fact]
    public void Relocations_are_the_DIR64_entries() => Assert.Equal([0x2058u, 0x3008u, 0x3010u], Read(Driver().Build()).Relocations);

    [Fact]
    public void A_missing_relocation_table_is_no_error() =>
        Assert.Empty(Read(new ImageBuilder().Section(".text", Code, [0xC3]).Imports(("ntoskrnl.exe", ["DbgPrint"])).Build()).Relocations);

    [Fact]
    public void Load_configuration_names_the_cookie() => Assert.Equal(0x3000u, Read(Driver().Build()).LoadConfiguration?.SecurityCookie);

    [Fact]
    public void Sections_may_share_pages_when_the_file_is_its_own_memory_image()
    {
        var builder = new ImageBuilder { SectionAlignment = 0x20, FileAlignment = 0x20, EntryPoint = 0x400 };
        PortableExecutable image = Read(builder
            .Section(".text", Code, [0x90, 0xC3]).Section(".data", Data, [1, 2, 3]).Imports(("ntoskrnl.exe", ["DbgPrint"])).Build());
        Assert.Equal([0x90, 0xC3], image.Contents.Span.Slice(0x400, 2).ToArray());
        Assert.Equal([1, 2, 3], image.Contents.Span.Slice(0x420, 3).ToArray());
        Assert.Equal("DbgPrint", Assert.Single(image.Imports).Name);
    }

    [Fact]
    public void File_version_comes_from_the_version_resource()
    {
        ImageBuilder builder = Driver();
        uint rva = builder.NextRva;
        const uint subdirectory = 0x8000_0000;
        byte[] tree = [
            .. Doublewords(0, 0, 0, 1 << 16, 16, subdirectory | 24),
            .. Doublewords(0, 0, 0, 1 << 16, 1, subdirectory | 48),
            .. Doublewords(0, 0, 0, 1 << 16, 0x409, 72),
            .. Doublewords(rva + 88, 92, 0, 0),
            .. new byte[40], .. Doublewords(0xFEEF04BD, 0x10000, 0x000A0002, 0x4A6103E9), .. new byte[36]];
        PortableExecutable image = Read(builder.Section(".rsrc", ReadOnlyData, tree).Directory(2, rva, (uint)tree.Length).Build());
        Assert.Equal(new Version(10, 2, 0x4A61, 1001), image.FileVersion);
    }

    [Fact]
    public void Texts_come_from_the_version_resource()
    {
        static byte[] Block(string key, byte[] value, bool isText, params byte[][] children)
        {
            static void Pad(MemoryStream stream) => stream.Write(new byte[-stream.Length & 3]);
            using var block = new MemoryStream();
            block.Write(new byte[6]);
            block.Write(System.Text.Encoding.Unicode.GetBytes(key + "\0"));
            Pad(block);
            block.Write(value);
            foreach (byte[] child in children)
            {
                Pad(block);
                block.Write(child);
            }
            byte[] bytes = block.ToArray();
            Put16(bytes, 0, (ushort)bytes.Length);
            Put16(bytes, 2, (ushort)(isText ? value.Length / 2 : value.Length));
            Put16(bytes, 4, (ushort)(isText ? 1 : 0));
            return bytes;
        }

        static byte[] Text(string key, string value) => Block(key, System.Text.Encoding.Unicode.GetBytes(value + "\0"), isText: true);

        byte[] version = Block("VS_VERSION_INFO", new byte[52], isText: false,
            Block("VarFileInfo", [], isText: true, Block("Translation", new byte[4], isText: false)),
            Block("StringFileInfo", [], isText: true, Block("040904B0", [], isText: true,
                Text("CompanyName", "Irpwright"), Text("FileDescription", "Test\u001B driver"), Text("Empty", ""))));
        ImageBuilder builder = Driver();
        uint rva = builder.NextRva;
        const uint subdirectory = 0x8000_0000;
        byte[] tree = [
            .. Doublewords(0, 0, 0, 1 << 16, 16, subdirectory | 24),
            .. Doublewords(0, 0, 0, 1 << 16, 1, subdirectory | 48),
            .. Doublewords(0, 0, 0, 1 << 16, 0x409, 72),
            .. Doublewords(rva + 88, (uint)version.Length, 0, 0), .. version];
        PortableExecutable image = Read(builder.Section(".rsrc", ReadOnlyData, tree).Directory(2, rva, (uint)tree.Length).Build());
        Assert.Equal(
            [("CompanyName", "Irpwright"), ("Empty", ""), ("FileDescription", "Test? driver")],
            image.VersionTexts.Select(pair => (pair.Key, pair.Value)));
    }

    [Fact]
    public void Debug_directory_names_the_PDB()
    {
        ImageBuilder builder = Driver();
        uint rva = builder.NextRva;
        var guid = new Guid("00112233-4455-6677-8899-aabbccddeeff");
        byte[] data = [.. Doublewords(0, 0, 0, 2, 24 + 11, rva + 28, 0), .. "RSDS"u8, .. guid.ToByteArray(), 3, 0, 0, 0,
            .. "C:\\a\\b.pdb\0"u8];
        Assert.Equal(new CodeViewRecord("C:\\a\\b.pdb", guid, 3),
            Read(builder.Section("debug", ReadOnlyData, data).Directory(6, rva, 28).Build()).CodeView);
    }

    [Fact]
    public void A_wrong_checksum_is_reported_and_the_right_one_is_not()
    {
        byte[] bytes = Driver().Build();
        Put32(bytes, OptionalHeader + 64, 0x1234);
        ImageDiagnostic warning = Assert.Single(Read(bytes).Warnings);
        Assert.StartsWith("IMAGE_OPTIONAL_HEADER64.CheckSum", warning.Place);
        uint sum = Convert.ToUInt32(warning.Message.Split("file's is 0x")[1].Split(':')[0], 16);
        Put32(bytes, OptionalHeader + 64, sum);
        Assert.Empty(Read(bytes).Warnings);
    }

    public class Symbols
    {
        static string? At(PortableExecutable image, uint rva) => image.SymbolAt(rva)?.ToString();

        [Fact]
        public void The_COFF_symbol_table_names_functions_and_variables()
        {
            PortableExecutable image = Read(Driver()
                .Symbol("DriverEntry", 0x1000).Symbol("Unload", 0x1010).Symbol("state", 0x3008, isFunction: false).Build());
            Assert.Equal("DriverEntry", At(image, 0x1000));
            Assert.Equal("DriverEntry+0xf", At(image, 0x100F));
            Assert.Equal("Unload+0x1f", At(image, 0x102F));
            Assert.Equal("state+0x8", At(image, 0x3010));
            Assert.Null(At(image, 0x3000));
            Assert.Null(At(image, 0x100));
            Assert.Null(At(image, 0xFFFF_FFFF));
        }

        [Fact]
        public void Exports_name_what_the_symbol_table_does_not() =>
            Assert.Equal("DllInitialize+0x1", At(Read(Driver().Exports(1, ("DllInitialize", 0x1010u)).Build()), 0x1011));

        /// <summary>An image with a single export must not call all of its code by that name.</summary>
        [Fact]
        public void A_name_does_not_reach_beyond_its_function()
        {
            // [0x1000, 0x1010) named, [0x1010, 0x1020) nameless, [0x1028, 0x1030) a part that chains to the first; 0x1020 is a leaf.
            ImageBuilder builder = Driver();
            uint unwind = builder.NextRva;
            byte[] unwindInfo = [1, 0, 0, 0, 0x21, 0, 1, 0, 0, 0, 0, 0, .. Doublewords(0x1000, 0x1010, unwind)];
            PortableExecutable image = Read(builder.Section(".xdata", ReadOnlyData, unwindInfo)
                .Functions(0x1000, 0x1010, unwind, 0x1010, 0x1020, unwind, 0x1028, 0x1030, unwind + 4)
                .Exports(1, ("Named", 0x1000u)).Build());
            Assert.Equal("Named+0x8", At(image, 0x1008));
            Assert.Null(At(image, 0x1018));
            Assert.Null(At(image, 0x1020));
            Assert.Equal("Named+0x2a", At(image, 0x102A));
            Assert.Equal(new RuntimeFunction(0x1010, 0x1020, unwind), image.FunctionAt(0x1018));
            Assert.Null(image.FunctionAt(0x1020));
        }
    }
}

public class SampleDriverTests
{
    public static TheoryData<string> Paths() => [.. SampleDrivers.Paths];

    [Theory]
    [MemberData(nameof(Paths))]
    public void A_compiled_driver_is_read_without_warnings(string path)
    {
        Assert.True(PortableExecutable.TryReadFile(path, out PortableExecutable? image, out ImageDiagnostic? error), error?.ToString());
        Assert.Empty(image.Warnings);
        Assert.All(image.Imports, import => Assert.Contains(import.Module, (string[])["ntoskrnl.exe", "HAL.dll", "hal.dll"]));
        using var oracle = new PEReader(File.OpenRead(path));
        Assert.Equal(
            oracle.PEHeaders.SectionHeaders.Select(section => section.VirtualAddress),
            image.Sections.Select(section => (int)section.VirtualAddress));
        PEMemoryBlock table = oracle.GetSectionData(oracle.PEHeaders.PEHeader!.ExceptionTableDirectory.RelativeVirtualAddress);
        Assert.Equal(oracle.PEHeaders.PEHeader.ExceptionTableDirectory.Size / 12, image.Functions.Length);
        Assert.Equal(table.GetReader().ReadUInt32(), image.Functions[0].BeginAddress);
        foreach (ImageSection section in image.Sections.Where(section => section.SizeOfRawData != 0))
        {
            int length = (int)Math.Min(section.VirtualSize, section.SizeOfRawData);
            Assert.Equal(oracle.GetSectionData((int)section.VirtualAddress).GetContent(0, length),
                image.Contents.Slice((int)section.VirtualAddress, length).ToArray());
        }
    }
}
