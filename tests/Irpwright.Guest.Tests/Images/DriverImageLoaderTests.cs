using Irpwright.Guest.Images;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Irpwright.Guest.Tests.Images.ImageBuilder;

namespace Irpwright.Guest.Tests.Images;

public sealed class DriverImageLoaderTests : IDisposable
{
    readonly Machine machine = new();
    readonly DriverImageLoader loader;

    public DriverImageLoaderTests() => loader = new DriverImageLoader(machine);

    public void Dispose() => machine.Dispose();

    /// <summary>As <see cref="Driver"/>, but with imports that every kernel has.</summary>
    static ImageBuilder Bindable() => new ImageBuilder()
        .Section(".text", Code, [0x90, 0xC3])
        .LoadConfig(cookieRva: 0x3000)
        .Section(".data", Data, Quadwords(0x2B99_2DDF_A232, 0x1_4000_1001, 0x1_4000_3008), virtualSize: 0x1800)
        .Imports(("NTOSKRNL.EXE", ["IofCallDriver"]), ("hal.dll", ["IofCompleteRequest"]))
        .Section("PAGEcode", Code, [0xC3])
        .Section("INIT", Code | Discardable, [0xC3])
        .Relocations(0x2058, 0x3008, 0x3010);

    DriverImage Load(ImageBuilder builder, string name = "driver.sys")
    {
        Assert.True(PortableExecutable.TryRead(name, builder.Build(), out PortableExecutable? file, out ImageDiagnostic? error),
            error?.ToString());
        Assert.True(loader.TryLoad(file, out DriverImage? image, out error), error?.ToString());
        return image;
    }

    ImageDiagnostic Refuse(byte[] bytes)
    {
        Assert.False(loader.TryLoad(PortableExecutableTests.Read(bytes), out _, out ImageDiagnostic? error));
        return error;
    }

    static ulong Read(ulong address) => GuestMemory.Ref<ulong>(address);

    static PageAccess Access(ulong address)
    {
        PageAccess all = PageAccess.None;
        foreach (PageAccess access in (PageAccess[])[PageAccess.Read, PageAccess.Write, PageAccess.Execute, PageAccess.Pageable])
            if (Allows(address, access)) all |= access;
        return all;
    }

    static unsafe bool Allows(ulong address, PageAccess access) => GuestMemory.TryTranslate(address, 1, access, out _, out _);

    [Fact]
    public void Images_lie_in_the_image_range_with_a_page_without_access_before_each()
    {
        DriverImage first = Load(Bindable()), second = Load(Bindable());
        foreach (DriverImage image in (DriverImage[])[first, second])
        {
            Assert.True(machine.Memory.Images.Contains(image.Base));
            Assert.Equal(0u, image.Base % GuestMemory.PageSize);
            Assert.Equal(PageAccess.None, Access(image.Base - 1));
            Assert.Equal(image.Base + 0x1000, image.EntryPoint);
        }
        Assert.NotEqual(first.Base, second.Base);
        Assert.Equal([first, second], loader.Images);
    }

    [Fact]
    public void Relocated_addresses_follow_the_image()
    {
        DriverImage image = Load(Bindable());
        Assert.Equal(image.Base + 0x1001, Read(image.Base + 0x3008));
        Assert.Equal(image.Base + 0x3008, Read(image.Base + 0x3010));
        Assert.Equal(image.Base + 0x3000, Read(image.Base + 0x2058));
    }

    /// <summary>
    /// If the cookie were written before relocating, a relocation at its address would spoil it and its address would be the wrong one.
    /// </summary>
    [Fact]
    public void The_security_cookie_is_written_after_relocating()
    {
        DriverImage image = Load(Bindable().Section("more", Data, Quadwords(1)));
        ulong cookie = Read(image.Base + 0x3000);
        Assert.NotEqual(0x2B99_2DDF_A232ul, cookie);
        Assert.NotEqual(0ul, cookie);
        Assert.Equal(0ul, cookie >> 48);

        DriverImage relocated = Load(new ImageBuilder()
            .Section(".text", Code, [0xC3]).LoadConfig(0x3000).Section(".data", Data, Quadwords(0x2B99_2DDF_A232))
            .Imports(("ntoskrnl.exe", ["IofCallDriver"])).Relocations(0x2058, 0x3000));
        Assert.Equal(0ul, Read(relocated.Base + 0x3000) >> 48);
    }

    [Fact]
    public void The_security_cookie_is_the_same_in_every_run_and_differs_by_seed_and_place()
    {
        ulong first = Read(Load(Bindable()).Base + 0x3000), second = Read(Load(Bindable()).Base + 0x3000);
        Assert.NotEqual(first, second);
        ulong CookieIn(ulong seed)
        {
            using var machine = new Machine(new MachineOptions { ChecksMemory = CheckedMode.Here });
            PortableExecutable file = PortableExecutableTests.Read(Bindable().Build());
            Assert.True(new DriverImageLoader(machine, seed).TryLoad(file, out DriverImage? image, out _));
            return Read(image.Base + 0x3000);
        }
        Assert.Equal(first, CookieIn(0));
        Assert.NotEqual(first, CookieIn(1));
    }

    [Fact]
    public void Imports_are_bound_to_the_kernel_whatever_module_and_case_they_name()
    {
        DriverImage image = Load(Bindable());
        Assert.Empty(image.UnsupportedImports);
        Assert.Equal(
            ["IofCallDriver", "IofCompleteRequest"],
            image.File.Imports.Select(import => machine.Code.ExportAt(Read(image.Base + import.AddressRva))?.Name));
    }

    [Fact]
    public void Imported_variables_are_bound_to_their_addresses()
    {
        DriverImage image = Load(new ImageBuilder().Section(".text", Code, [0xC3])
            .Imports(("ntoskrnl.exe", ["MmUserProbeAddress", "NtBuildNumber"])));
        Assert.Empty(image.UnsupportedImports);
        Assert.Equal([0x7FFF_FFFF_0000, 0xF000_4A65], image.File.Imports.Select((import, i) => i == 0
            ? Read(Read(image.Base + import.AddressRva))
            : GuestMemory.Ref<uint>(Read(image.Base + import.AddressRva))));
    }

    [Fact]
    public void All_unsupported_imports_are_collected_and_each_has_an_address_of_its_own()
    {
        DriverImage image = Load(new ImageBuilder().Section(".text", Code, [0xC3])
            .Imports(
                ("ntoskrnl.exe", ["IofCallDriver", "NoSuchRoutine", "#7"]),
                ("WDFLDR.SYS", ["WdfVersionBind"]),
                ("other.sys", ["IofCallDriver"])));
        Assert.Equal(["ntoskrnl.exe!NoSuchRoutine", "ntoskrnl.exe!#7", "WDFLDR.SYS!WdfVersionBind", "other.sys!IofCallDriver"],
            image.UnsupportedImports.Select(import => import.ToString()));
        ulong[] addresses = [.. image.UnsupportedImports.Select(import => Read(image.Base + import.AddressRva))];
        Assert.Equal(image.UnsupportedImports.Cast<ImageImport?>(), addresses.Select(loader.UnsupportedImportAt));
        Assert.All(addresses, address => Assert.Equal(PageAccess.None, Access(address)));
        Assert.Equal("WDFLDR.SYS!WdfVersionBind", loader.SymbolAt(addresses[2]));
    }

    [Fact]
    public void Each_section_gets_its_access_and_code_is_never_writable()
    {
        DriverImage image = Load(Bindable().Section("both", Code | Data, [0xC3]));
        Assert.Equal(PageAccess.Read, Access(image.Base));
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
            image.Sections.Select(section => (section.Name, Access(image.Base + section.VirtualAddress))));
        Assert.Equal(PageAccess.ReadWrite, Access(image.Base + 0x4FFF));
    }

    [Fact]
    public void A_locked_section_is_not_pageable_until_it_is_unlocked()
    {
        DriverImage image = Load(Bindable());
        ImageSection section = image.Sections.Single(s => s.Name == "PAGEcode");
        PVOID within = new(image.Base + section.VirtualAddress);
        machine.Run(() =>
        {
            PVOID handle = machine.PageableSections.MmLockPagableDataSection(within);
            Assert.Equal(PageAccess.Read | PageAccess.Execute, Access(within.Address));
            loader.DiscardInitialization(image);
            Assert.Equal(PageAccess.Read | PageAccess.Execute, Access(within.Address));
            machine.PageableSections.MmUnlockPagableImageSection(handle);
            Assert.Equal(section.Access, Access(within.Address));
            Assert.Equal(image.Base, machine.PageableSections.MmPageEntireDriver(within).Address);
            Assert.Equal(PageAccess.Read | PageAccess.Execute | PageAccess.Pageable, Access(image.Base + image.Sections[0].VirtualAddress));
        });
        loader.Free(image);
        Assert.Equal(BugCheckCode.MEMORY_MANAGEMENT,
            Assert.Throws<BugCheckException>(() => machine.Run(() => machine.PageableSections.MmLockPagableDataSection(within))).Report.Code);
    }

    [Fact]
    public void Sections_that_share_a_page_share_its_access()
    {
        DriverImage image = Load(new ImageBuilder { SectionAlignment = 0x20, FileAlignment = 0x20, EntryPoint = 0x400 }
            .Section(".text", Code, [0xC3]).Section(".data", Data, [1]).Imports(("ntoskrnl.exe", ["IofCallDriver"])));
        Assert.Equal(PageAccess.ReadWrite | PageAccess.Execute, Access(image.Base));
    }

    [Fact]
    public void Discardable_sections_go_when_initialization_is_over()
    {
        DriverImage image = Load(Bindable());
        var withdrawn = new List<ulong>();
        loader.CodeWithdrawn += (_, address, _) => withdrawn.Add(address - image.Base);
        loader.DiscardInitialization(image);
        Assert.Equal([0x7000ul, 0x8000ul], withdrawn);
        IEnumerable<ImageSection> gone = image.Sections.Where(section => Access(image.Base + section.VirtualAddress) == PageAccess.None);
        Assert.Equal(["INIT", ".reloc"], gone.Select(section => section.Name));
    }

    [Fact]
    public void Addresses_have_names_also_after_unloading()
    {
        DriverImage image = Load(Bindable().Symbol("DriverEntry", 0x1000), "Toaster.sys");
        Assert.Equal("Toaster!DriverEntry+0x1", loader.SymbolAt(image.Base + 0x1001));
        Assert.Equal("Toaster+0x3000", loader.SymbolAt(image.Base + 0x3000));
        Assert.Null(loader.SymbolAt(image.Base + image.Size));
        loader.Free(image);
        Assert.Equal("<Unloaded_Toaster.sys>!DriverEntry", loader.SymbolAt(image.Base + 0x1000));
    }

    [Fact]
    public void A_freed_image_leaves_no_access_and_clean_memory_for_the_next()
    {
        DriverImage first = Load(Bindable());
        loader.Free(first);
        loader.Free(first);
        Assert.Empty(loader.Images);
        Assert.Equal(PageAccess.None, Access(first.EntryPoint));
        DriverImage second = Load(new ImageBuilder()
            .Section(".text", Code, [0xC3], virtualSize: 0x6000).Imports(("ntoskrnl.exe", ["IofCallDriver"])));
        Assert.Equal(first.Base, second.Base);
        Assert.Equal(0ul, Read(second.Base + 0x3000));
    }

    [Fact]
    public void An_image_that_cannot_be_relocated_is_refused()
    {
        byte[] bytes = Bindable().Build();
        Put16(bytes, FileHeader + 18, 0x0023);
        Assert.Contains("IMAGE_FILE_RELOCS_STRIPPED", Refuse(bytes).Message);
    }

    [Fact]
    public void An_image_with_thread_local_variables_is_refused()
    {
        ImageDiagnostic error = Refuse(Bindable().Directory(9, 0x2000, 0x28).Build());
        Assert.Contains("TLS Table", error.Place);
        Assert.Contains("thread-local variables, which do not exist in the kernel", error.Message);
    }

    [Fact]
    public void Bound_addresses_are_ignored()
    {
        ImageBuilder builder = Bindable();
        DriverImage image = Load(builder.Directory(11, 0x2000, 8));
        Assert.NotNull(machine.Code.ExportAt(Read(image.Base + builder.SlotOf("IofCallDriver"))));
    }

    [Fact]
    public void An_image_without_entry_point_is_refused() =>
        Assert.Contains("no entry point", Refuse(new ImageBuilder { EntryPoint = 0 }.Section(".text", Code, [0xC3]).Build()).Message);

    [Fact]
    public void Images_that_do_not_fit_any_more_are_refused()
    {
        ImageBuilder large = new ImageBuilder()
            .Section(".text", Code, [0xC3]).Section(".bss", Data, [], virtualSize: 0x3FF_D000).Imports(("ntoskrnl.exe", ["IofCallDriver"]));
        for (int i = 0; i < 3; i++) Load(large);
        Assert.Equal(ImageProblem.TooLarge, Refuse(large.Build()).Problem);
    }

    /// <summary>A processor that runs nothing and answers every call with one status.</summary>
    sealed class Answering(NTSTATUS status, Action<ulong>? onCall = null) : IGuestProcessor
    {
        public ulong Invoke(KernelThread thread, ulong address, ulong rcx, ulong rdx, ulong r8, ulong r9,
            ReadOnlySpan<ulong> stackArguments = default, ulong stackTop = 0, ulong stackLimit = 0)
        {
            onCall?.Invoke(address);
            return (uint)status;
        }

        public bool IsCode(ulong address) => true;

        public IEnumerable<IReadOnlyList<GuestFrame>> CallStack(KernelThread thread) => [];

        public bool IsRun(System.Reflection.MethodBase method) => false;
    }

    [Fact]
    public void Starting_calls_the_entry_point_while_INIT_is_there_and_discards_it_afterwards()
    {
        DriverImage image = Load(Bindable());
        ulong init = image.Base + Bindable().RvaOf("INIT");
        var calls = new List<(ulong Address, PageAccess Init)>();
        machine.Guest = new Answering(NTSTATUS.STATUS_SUCCESS, address => calls.Add((address, Access(init))));
        Driver? driver = null;
        Assert.Equal(NTSTATUS.STATUS_SUCCESS, machine.Run(() => loader.Start(image, "toaster", out driver)));
        Assert.Equal("toaster", driver?.Name);
        Assert.Equal([(image.EntryPoint, PageAccess.Read | PageAccess.Execute)], calls);
        Assert.Equal(PageAccess.None, Access(init));
    }

    [Fact]
    public void Unloading_calls_DriverUnload_and_frees_the_image()
    {
        DriverImage image = Load(Bindable());
        var calls = new List<ulong>();
        machine.Guest = new Answering(NTSTATUS.STATUS_SUCCESS, calls.Add);
        machine.Run(() =>
        {
            loader.Start(image, "toaster", out Driver? driver);
            Assert.False(loader.Unload(driver!));
            Assert.True(image.IsLoaded);
            PDRIVER_OBJECT driverObject = driver!.Object;
            driverObject.DriverUnload = new PDRIVER_UNLOAD(image.Base + 0x1001);
            Assert.True(loader.Unload(driver));
        });
        Assert.Equal([image.EntryPoint, image.Base + 0x1001], calls);
        Assert.False(image.IsLoaded);
    }

    [Fact]
    public void A_driver_that_fails_to_start_is_unloaded()
    {
        DriverImage image = Load(Bindable());
        machine.Guest = new Answering(NTSTATUS.STATUS_INSUFFICIENT_RESOURCES);
        Assert.Equal(NTSTATUS.STATUS_INSUFFICIENT_RESOURCES, machine.Run(() => loader.Start(image, "toaster", out _)));
        Assert.False(image.IsLoaded);
    }

    [Fact]
    public void A_driver_with_unsupported_imports_is_not_started()
    {
        DriverImage image = Load(new ImageBuilder().Section(".text", Code, [0xC3]).Imports(("ntoskrnl.exe", ["NoSuchRoutine"])));
        machine.Guest = new Answering(NTSTATUS.STATUS_SUCCESS, _ => Assert.Fail("called"));
        Assert.Equal(NTSTATUS.STATUS_DRIVER_ENTRYPOINT_NOT_FOUND, machine.Run(() => loader.Start(image, "toaster", out _)));
        Assert.False(image.IsLoaded);
    }
}
