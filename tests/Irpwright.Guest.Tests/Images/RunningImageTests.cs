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

    [Theory]
    [InlineData(true, "driver+0x2006 calls ntoskrnl.exe!NoSuchRoutine")]
    [InlineData(false, "driver+0x2007 uses ntoskrnl.exe!NoSuchRoutine")]
    public void A_missing_import_stops_the_machine_when_it_is_used_if_that_is_asked_for(bool isCalled, string sentence)
    {
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", ["NoSuchRoutine"]));
        builder.Assemble(".text", a =>
        {
            if (isCalled) builder.Call(a, "NoSuchRoutine");
            builder.Load(a, rax, builder.SlotOf("NoSuchRoutine"));
            a.mov(rax, __qword_ptr[rax]);
        });
        Assert.True(drivers.TryPlace(PortableExecutableTests.Read(builder.Build()), out DriverImage? image, out _));
        drivers.AllowsMissingImports = true;
        var stop = Assert.Throws<MachineUnsupportedException>(() => drivers.Start(image, out _, "driver"));
        Assert.StartsWith(sentence, stop.Message, StringComparison.Ordinal);
    }

    /// <summary>A driver that finds its own file name through DriverSection, and the number of images through PsLoadedModuleList.</summary>
    [Fact]
    public void A_driver_finds_its_image_in_the_list_of_modules()
    {
        NTSTATUS result = Run((a, image) =>
        {
            Label next = a.CreateLabel(), end = a.CreateLabel();
            a.mov(r8, __qword_ptr[rcx + 0x28]);
            a.mov(rdx, __qword_ptr[r8 + 0x60]);
            a.movzx(eax, __word_ptr[rdx]);
            image.Load(a, rcx, image.SlotOf("PsLoadedModuleList"));
            a.mov(rdx, rcx);
            a.Label(ref next);
            a.mov(rdx, __qword_ptr[rdx]);
            a.cmp(rdx, rcx);
            a.je(end);
            a.add(eax, 0x10000);
            a.jmp(next);
            a.Label(ref end);
            a.ret();
        }, "PsLoadedModuleList");
        Assert.Equal(0x10000 | 'd', (int)result);
    }

    [Fact]
    public void An_unloaded_image_leaves_the_list_of_modules()
    {
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", ["KeGetCurrentIrql"])).Assemble(".text", a =>
        {
            a.mov(eax, unchecked((int)NTSTATUS.STATUS_UNSUCCESSFUL));
            a.ret();
        });
        Assert.Equal(NTSTATUS.STATUS_UNSUCCESSFUL, Start(builder, out _));
        Assert.True(machine.Variables.TryFind("PsLoadedModuleList", out ulong head));
        Assert.Equal((head, head), (GuestMemory.Ref<ulong>(head), GuestMemory.Ref<ulong>(head + 8)));
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
    public void Guarded_calls_reach_their_targets()
    {
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", ["KeGetCurrentIrql"])).GuardPointers(out uint check);
        NTSTATUS result = Start(builder.Assemble(".text", a =>
        {
            Label target = a.CreateLabel();
            a.sub(rsp, 0x28);
            a.lea(rcx, __[target]);
            builder.Call(a, check);
            a.lea(rax, __[target]);
            a.mov(ecx, 42);
            builder.Call(a, check + 8);
            a.add(rsp, 0x28);
            a.ret();
            a.Label(ref target);
            a.lea(eax, __[rcx + 1]);
            a.ret();
        }), out _);
        Assert.Equal(43, (int)result);
    }

    /// <summary>Its DriverEntry checks, and calls, what lies 0 and 16 bytes into its code: the table lists the first of the two only.</summary>
    NTSTATUS CallGuarded(bool checks, int offset, Action<Assembler>? before = null)
    {
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", ["KeGetCurrentIrql"])).GuardPointers(out uint check, 0);
        uint entry = 0;
        builder.Assemble(".text", a =>
        {
            Label listed = a.CreateLabel(), unlisted = a.CreateLabel(), start = a.CreateLabel();
            a.Label(ref listed);
            a.mov(eax, 41);
            a.ret();
            a.nop(10);
            a.Label(ref unlisted);
            a.mov(eax, 42);
            a.ret();
            a.nop(10);
            a.Label(ref start);
            a.push(rbx);
            a.sub(rsp, 0x20);
            before?.Invoke(a);
            if (offset >= 0) a.lea(rbx, __[offset == 0 ? listed : unlisted]);
            a.mov(checks ? rcx : rax, rbx);
            builder.Call(a, checks ? check : check + 8);
            if (checks) a.call(rcx);
            a.add(rsp, 0x20);
            a.pop(rbx);
            a.ret();
        });
        entry = builder.RvaOf(".text") + 0x20;
        return Start(builder.EnterAt(entry), out _);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_guarded_call_reaches_what_the_table_lists(bool checks) => Assert.Equal(41, (int)CallGuarded(checks, 0));

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_guarded_call_of_code_that_the_table_does_not_list_is_bug_check_139(bool checks)
    {
        BugCheckReport report = Assert.Throws<BugCheckException>(() => CallGuarded(checks, 16)).Report;
        Assert.Equal((BugCheckCode.KERNEL_SECURITY_CHECK_FAILURE, 10UL), (report.Code, report.Parameter1));
        Assert.Contains("driver+0x3010", report.Explanation);
        Assert.StartsWith("driver+0x30", report.CallStack[0].Symbol);
    }

    [Fact]
    public void A_guarded_call_reaches_routines_of_the_kernel() =>
        Assert.Equal(0, (int)CallGuarded(checks: false, -1, a => a.mov(rbx, machine.Code.AddressOf(KernelExports.Find("KeGetCurrentIrql")!))));

    [Fact]
    public void A_guarded_call_of_data_is_bug_check_FC()
    {
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", ["KeGetCurrentIrql"])).GuardPointers(out uint check);
        var stop = Assert.Throws<BugCheckException>(() => Start(builder.Assemble(".text", a =>
        {
            a.sub(rsp, 0x28);
            a.lea(rax, __[rsp]);
            builder.Call(a, check + 8);
        }), out _));
        Assert.Equal(BugCheckCode.ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, stop.Report.Code);
    }

    [Theory]
    [InlineData(ImageBuilder.Code)]
    [InlineData(ImageBuilder.ReadOnlyData)]
    public void Writing_code_or_constants_is_bug_check_BE(uint characteristics)
    {
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", ["KeGetCurrentIrql"]))
            .Section("target", characteristics, ImageBuilder.Quadwords(1, 2));
        var stop = Assert.Throws<BugCheckException>(() => Start(builder.Assemble(".text", a =>
        {
            builder.Store(a, builder.RvaOf("target") + 8, rcx);
            a.ret();
        }).EnterAt(builder.RvaOf(".text")), out _));
        Assert.Equal(BugCheckCode.ATTEMPTED_WRITE_TO_READONLY_MEMORY, stop.Report.Code);
        Assert.Equal(8u, stop.Report.Parameter1 % GuestMemory.PageSize);
    }

    [Fact]
    public void Executing_data_is_bug_check_FC()
    {
        BugCheckReport report = Stops(BugCheckCode.ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, (a, image) =>
        {
            image.Load(a, rax, image.SlotOf("NtBuildNumber"));
            a.jmp(rax);
        }, "NtBuildNumber");
        Assert.True(machine.Variables.TryFind("NtBuildNumber", out ulong address));
        Assert.Equal(address, report.Parameter1);
    }

    /// <summary>A driver that stays, and whose DriverUnload calls a routine in INIT.</summary>
    static ImageBuilder CallsInitOnUnload()
    {
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", ["KeGetCurrentIrql"]));
        builder.Assemble("INIT", a =>
        {
            a.xor(eax, eax);
            a.ret();
        });
        uint init = builder.RvaOf("INIT");
        uint text = builder.NextRva;
        return builder.Assemble(".text", a =>
        {
            Label unload = a.CreateLabel();
            a.sub(rsp, 0x28);
            a.lea(rax, __[unload]);
            a.mov(__qword_ptr[rcx + 0x68], rax);
            a.call(builder.ImageBase + init);
            a.add(rsp, 0x28);
            a.ret();
            a.Label(ref unload);
            a.sub(rsp, 0x28);
            a.call(builder.ImageBase + init);
            a.add(rsp, 0x28);
            a.ret();
        }).EnterAt(text);
    }

    [Fact]
    public void INIT_can_be_called_from_DriverEntry_and_faults_afterwards()
    {
        Assert.Equal(NTSTATUS.STATUS_SUCCESS, Start(CallsInitOnUnload(), out Driver? driver));
        BugCheckReport report = Assert.Throws<BugCheckException>(() => drivers.Unload(driver!)).Report;
        Assert.Equal(BugCheckCode.PAGE_FAULT_IN_NONPAGED_AREA, report.Code);
        Assert.Equal(0x10ul, report.Parameter2);
        Assert.Contains("section INIT of driver.sys was discarded when DriverEntry returned", report.Explanation);
    }

    [Fact]
    public void Calling_an_unloaded_driver_is_bug_check_CE()
    {
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", ["KeGetCurrentIrql"]));
        builder.Assemble(".text", a =>
        {
            Label unload = a.CreateLabel();
            a.lea(rax, __[unload]);
            a.mov(__qword_ptr[rcx + 0x68], rax);
            a.xor(eax, eax);
            a.ret();
            a.Label(ref unload);
            a.ret();
        });
        Start(builder, out Driver? driver);
        PDRIVER_UNLOAD stale = driver!.Object.DriverUnload;
        Assert.True(drivers.Unload(driver));
        BugCheckReport report = Assert.Throws<BugCheckException>(() => machine.Run(() => machine.Code.Invoke(stale.Address, 0, 0, 0, 0))).Report;
        Assert.Equal(BugCheckCode.DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS, report.Code);
        Assert.Equal((stale.Address, 0x10ul), (report.Parameter1, report.Parameter2));
        Assert.Contains("the driver is unloaded", report.Explanation);
    }

    [Fact]
    public void Delay_loaded_imports_that_exist_are_bound_and_others_lead_to_the_image_itself()
    {
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", ["KeGetCurrentIrql"]));
        builder.Assemble("helper", a =>
        {
            a.mov(eax, 7);
            a.ret();
        });
        uint helper = builder.RvaOf("helper");
        builder.DelayImports("ntoskrnl.exe", helper, "KeQueryInterruptTime", "NoSuchRoutine");
        builder.Relocations(builder.SlotOf("KeQueryInterruptTime"), builder.SlotOf("NoSuchRoutine"));
        uint text = builder.NextRva;
        NTSTATUS result = Start(builder.Assemble(".text", a =>
        {
            a.push(rbx);
            a.sub(rsp, 0x20);
            builder.Call(a, "KeQueryInterruptTime");
            a.mov(rbx, rax);
            builder.Call(a, "NoSuchRoutine");
            a.lea(eax, __[rax + rbx * 8]);
            a.add(rsp, 0x20);
            a.pop(rbx);
            a.ret();
        }).EnterAt(text), out _);
        Assert.Equal(7, (int)result & 7);
        Assert.Equal((int)machine.Run(machine.Time.KeQueryInterruptTime), (int)result >> 3);
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
