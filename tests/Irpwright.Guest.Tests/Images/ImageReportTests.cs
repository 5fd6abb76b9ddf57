using System.Text;
using Iced.Intel;
using Irpwright.Guest.Images;
using static Iced.Intel.AssemblerRegisters;
using static Irpwright.Guest.Tests.Images.ImageBuilder;

namespace Irpwright.Guest.Tests.Images;

public class ImageReportTests
{
    static ImageReport Report(Action<Assembler> code, string text = "")
    {
        var assembler = new Assembler(64);
        code(assembler);
        using var bytes = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(bytes), 0x1000);
        PortableExecutable image = PortableExecutableTests.Read(new ImageBuilder().Section(".text", ImageBuilder.Code, bytes.ToArray())
            .Section(".rdata", ReadOnlyData, [0, .. Encoding.Unicode.GetBytes(text), 0, 0])
            .Imports(("ntoskrnl.exe", ["IoCreateDevice", "KeNothing"])).Build());
        return ImageReport.Create(image, import => import.Name.StartsWith("Io", StringComparison.Ordinal));
    }

    static uint[] Codes(Action<Assembler> code) => [.. Report(code).ControlCodes.Select(found => found.Value)];

    [Fact]
    public void Imports_are_marked_as_supported_or_not() =>
        Assert.Equal(
            [("IoCreateDevice", true), ("KeNothing", false)],
            Report(code => code.ret()).Imports.Select(import => (import.Import.Name, import.IsSupported)));

    /// <summary>A call through the slot, a call of a jump through the slot, and a load of the slot; the jump itself does not count.</summary>
    [Fact]
    public void Uses_of_an_import_are_found()
    {
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", ["IoCreateDevice", "IoDeleteDevice"]));
        uint text = builder.NextRva;
        builder.Assemble(".text", code =>
        {
            Label jump = code.CreateLabel();
            builder.Call(code, "IoCreateDevice");
            code.call(jump);
            builder.Load(code, rax, builder.SlotOf("IoCreateDevice"));
            code.ret();
            code.Label(ref jump);
            builder.Jump(code, "IoCreateDevice");
        });
        ImageReport report = ImageReport.Create(PortableExecutableTests.Read(builder.Symbol("DriverEntry", text).Build()), _ => true);
        Assert.Equal([text, text + 6, text + 11], report.Imports[0].References);
        Assert.Empty(report.Imports[1].References);
        Assert.Equal("DriverEntry+0x6", ImageReport.PlacesOf(report.Image, report.Imports[0].Import).ElementAt(1));
    }

    [Fact]
    public void Device_names_are_found_at_any_alignment()
    {
        ImageReport report = Report(code => code.ret(),
            "x\\Device\\Probe\0\\dosdevices\\Probe\0\\Registry\\Machine\0\\Device\\Probe\0\\??\\C:\u0007");
        Assert.Equal([@"\Device\Probe", @"\dosdevices\Probe", @"\??\C:"], report.DeviceNames.Select(name => name.Text));
        Assert.Equal(0x2003u, report.DeviceNames[0].Rva);
    }

    [Fact]
    public void A_control_code_is_taken_apart_as_CTL_CODE_made_it()
    {
        ImageReport report = Report(code =>
        {
            code.nop();
            code.cmp(eax, 0x0022E00B);
            code.cmp(__dword_ptr[rdx + 0x18], 0x0022E00B);
        });
        ControlCode found = Assert.Single(report.ControlCodes);
        Assert.Equal((0x22u, 3u, 0x802u, "METHOD_NEITHER"), (found.DeviceType, found.RequiredAccess, found.Function, found.Method));
        Assert.Equal([0x1001u, 0x1006u], found.References);
    }

    /// <summary>The first case is subtracted, then the distance to each next one, on the same register or a copy.</summary>
    [Fact]
    public void A_switch_by_subtraction_is_followed() => Assert.Equal([0x222000u, 0x222004u, 0x222008u, 0x222010u, 0x222014u], Codes(code =>
    {
        Label done = code.CreateLabel();
        code.sub(eax, 0x222000);
        code.je(done);
        code.sub(eax, 4);
        code.je(done);
        code.mov(r8d, eax);
        code.sub(r8d, 4);
        code.je(done);
        code.cmp(r8d, 8);
        code.je(done);
        code.add(r8d, -12);
        code.Label(ref done);
        code.ret();
    }));

    /// <summary>clang does not load the code: it adds it to the constant, from memory.</summary>
    [Fact]
    public void A_code_that_is_added_to_a_constant_is_followed() => Assert.Equal([0x222003u, 0x222013u], Codes(code =>
    {
        code.mov(r8d, 0 - 0x222003);
        code.add(r8d, __dword_ptr[r9 + 0x18]);
        code.rol(r8d, 30);
        code.cmp(r8d, 4);
        code.mov(r8d, 0 - 0x222007);
        code.mov(r8d, __dword_ptr[r9 + 0x18]);
        code.add(r8d, __dword_ptr[r9 + 0x20]);
    }));

    [Fact]
    public void A_range_check_gives_the_first_and_the_last_code() => Assert.Equal([0x9C402400u, 0x9C40240Cu], Codes(code =>
    {
        code.lea(ecx, __[rax - unchecked((int)0x9C402400)]);
        code.cmp(ecx, 12);
    }));

    [Fact]
    public void What_a_register_held_before_a_call_or_another_write_is_forgotten() => Assert.Equal([0x222000u, 0x222004u], Codes(code =>
    {
        code.sub(eax, 0x222000);
        code.call(0x1000UL);
        code.cmp(eax, 0x10);
        code.sub(ecx, 0x222004);
        code.mov(ecx, __[rdx]);
        code.cmp(ecx, 0x10);
    }));

    /// <summary>Statuses, sizes, pool tags, masks and addresses.</summary>
    [Fact]
    public void Ordinary_numbers_are_no_control_codes() => Assert.Empty(Codes(code =>
    {
        uint[] numbers = [0xC0000010, 0x80000005, 0x103, 0x1000, 0x10000, 0x20000, 0x67615474, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF];
        foreach (uint number in numbers)
            code.cmp(eax, unchecked((int)number));
        code.mov(ecx, 0x10000);
        code.mov(eax, 0x222004);
        code.sub(rsp, 0x28);
    }));

    [Fact]
    public void The_first_argument_of_a_call_may_be_a_control_code() => Assert.Equal([0x222004u], Codes(code => code.mov(ecx, 0x222004)));

    /// <summary>Emits the default case at 0x1000 and a table at 0x1004, with room behind it for the decoder to find its feet.</summary>
    static void StartWithTable(Assembler code, out Label table, out Label otherwise, params int[] entries)
    {
        otherwise = code.CreateLabel();
        table = code.CreateLabel();
        code.Label(ref otherwise);
        code.ret();
        code.nop(3);
        code.Label(ref table);
        foreach (int entry in entries) code.dd(entry);
        code.nop(16);
    }

    /// <summary>As gcc and clang translate it: entries are relative to the table.</summary>
    [Fact]
    public void A_jump_table_is_read_and_its_default_entries_are_no_codes() => Assert.Equal([0x222000u, 0x222001u, 0x222004u], Codes(code =>
    {
        const int hole = 0x1000 - 0x1004;
        StartWithTable(code, out Label table, out Label otherwise, 0, 0, hole, hole, 0);
        code.sub(ecx, 0x222000);
        code.cmp(ecx, 4);
        code.ja(otherwise);
        code.lea(rdx, __[table]);
        code.movsxd(rax, __dword_ptr[rdx + rcx * 4]);
        code.add(rax, rdx);
        code.jmp(rax);
    }));

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_jump_table_over_quarters_has_steps_of_four(bool rotatesLeft) => Assert.Equal([0x22200Bu, 0x222013u], Codes(code =>
    {
        const int hole = 0x1000 - 0x1004;
        StartWithTable(code, out Label table, out Label otherwise, 0, hole, 0);
        code.add(ecx, -0x22200B);
        if (rotatesLeft) code.rol(ecx, 30);
        else code.shr(ecx, 2);
        code.cmp(ecx, 2);
        code.ja(otherwise);
        code.lea(rdx, __[table]);
        code.movsxd(rcx, __dword_ptr[rdx + rcx * 4]);
        code.jmp(rcx);
    }));

    /// <summary>As MSVC translates it: bytes choose among entries, which are relative to the image.</summary>
    [Fact]
    public void A_jump_table_behind_a_table_of_bytes_is_read() => Assert.Equal([0x222000u, 0x222004u], Codes(code =>
    {
        StartWithTable(code, out _, out Label otherwise, 0x1010, 0x1000, 0x0101_0100, 0);
        code.sub(eax, 0x222000);
        code.cmp(eax, 4);
        code.ja(otherwise);
        code.AddInstruction(Instruction.Create(Iced.Intel.Code.Lea_r64_m, rdx, new MemoryOperand(Register.RIP, 0L, 8)));
        code.movzx(eax, __byte_ptr[rdx + rax + 0x100C]);
        code.mov(ecx, __dword_ptr[rdx + rax * 4 + 0x1004]);
        code.add(rcx, rdx);
        code.jmp(rcx);
    }));
}
