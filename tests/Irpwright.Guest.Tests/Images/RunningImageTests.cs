using Iced.Intel;
using Irpwright.Guest.Images;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Images;

/// <summary>What a loader promises, seen by the code of the image itself.</summary>
public sealed class RunningImageTests : IDisposable
{
    readonly Machine machine = new();
    readonly GuestDrivers drivers;

    public RunningImageTests() => drivers = new GuestDrivers(machine);

    public void Dispose() => machine.Dispose();

    /// <summary>Loads an image and calls its DriverEntry.</summary>
    NTSTATUS Start(ImageBuilder builder, out Driver? driver)
    {
        Assert.True(drivers.TryPlace(PortableExecutableTests.Read(builder.Build()), out DriverImage? image, out ImageDiagnostic? error),
            error?.ToString());
        Assert.Empty(image.UnsupportedImports);
        return drivers.Start(image, out driver, "driver");
    }

    /// <summary>What DriverEntry of an image that only consists of it returns.</summary>
    NTSTATUS Run(Action<Assembler, ImageBuilder> driverEntry, params string[] imports)
    {
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", imports));
        return Start(builder.Assemble(".text", a => driverEntry(a, builder)), out _);
    }

    BugCheckReport Stops(BugCheckCode code, Action<Assembler, ImageBuilder> driverEntry, params string[] imports)
    {
        BugCheckReport report = Assert.Throws<BugCheckException>(() => Run(driverEntry, imports)).Report;
        Assert.Equal(code, report.Code);
        return report;
    }

    [Fact]
    public void Code_reads_imported_variables_through_their_slots()
    {
        NTSTATUS result = Run((a, image) =>
        {
            image.Load(a, rax, image.SlotOf("NtBuildNumber"));
            a.mov(eax, __dword_ptr[rax]);
            a.and(eax, 0xFFFF);
            a.ret();
        }, "NtBuildNumber");
        Assert.Equal(19045, (int)result);
    }

    [Fact]
    public void Writing_a_variable_that_Windows_keeps_read_only_is_bug_check_BE()
    {
        BugCheckReport report = Stops(BugCheckCode.ATTEMPTED_WRITE_TO_READONLY_MEMORY, (a, image) =>
        {
            image.Load(a, rax, image.SlotOf("MmUserProbeAddress"));
            a.mov(__qword_ptr[rax], 0);
            a.ret();
        }, "MmUserProbeAddress");
        Assert.True(machine.Variables.TryFind("MmUserProbeAddress", out ulong address));
        Assert.Equal(address, report.Parameter1);
    }

    [Fact]
    public void Entries_of_HalDispatchTable_stop_the_machine_by_name()
    {
        var stop = Assert.Throws<MachineUnsupportedException>(() => Run((a, image) =>
        {
            a.sub(rsp, 0x28);
            image.Load(a, rax, image.SlotOf("HalDispatchTable"));
            a.call(__qword_ptr[rax + 8]);
            a.add(rsp, 0x28);
            a.ret();
        }, "HalDispatchTable"));
        Assert.Contains("HalDispatchTable.HalQuerySystemInformation", stop.Message);
    }

    [Fact]
    public void Code_calls_what_MmGetSystemRoutineAddress_gave_it()
    {
        NTSTATUS result = Run((a, image) =>
        {
            Label name = a.CreateLabel(), text = a.CreateLabel();
            a.sub(rsp, 0x38);
            a.lea(rax, __[text]);
            a.mov(__dword_ptr[rsp + 0x20], 0x0022_0020);
            a.mov(__qword_ptr[rsp + 0x28], rax);
            a.lea(rcx, __[rsp + 0x20]);
            image.Call(a, "MmGetSystemRoutineAddress");
            a.call(rax);
            a.movzx(eax, al);
            a.add(rsp, 0x38);
            a.ret();
            a.Label(ref text);
            a.db(System.Text.Encoding.Unicode.GetBytes("KeGetCurrentIrql"));
        }, "MmGetSystemRoutineAddress", "KeGetCurrentIrql");
        Assert.Equal(0, (int)result);
    }
}
