using Iced.Intel;
using Irpwright.Guest.Images;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Images;

/// <summary>Images that import from other images. Documentation: Creating Export Drivers.</summary>
public sealed class ExportDriverTests : IDisposable
{
    /// <summary>RVA of the code in images that start with imports: <see cref="Library"/>.</summary>
    const uint Text = 0x2000;

    readonly Machine machine = new();
    readonly GuestDrivers drivers;
    readonly string folder = Directory.CreateTempSubdirectory("irpwright").FullName;

    public ExportDriverTests() => drivers = new GuestDrivers(machine);

    public void Dispose()
    {
        machine.Dispose();
        Directory.Delete(folder, recursive: true);
    }

    string Write(string name, ImageBuilder builder)
    {
        string path = Path.Combine(folder, name);
        File.WriteAllBytes(path, builder.Build());
        return path;
    }

    DriverImage Read(string path)
    {
        Assert.True(drivers.TryRead(path, out DriverImage? image, out ImageDiagnostic? error), error?.ToString());
        return image;
    }

    /// <summary>
    /// Exports Count (an int in its data), DllInitialize, which adds 1 to it, Add, which adds 10 and returns it, and DllUnload, which
    /// adds 100.
    /// </summary>
    static ImageBuilder Library(params (string Name, object Target)[] more)
    {
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", ["DbgPrint"]));
        const int routineSize = 32;
        void Routine(Assembler a, int number, int step)
        {
            Label start = a.CreateLabel();
            a.Label(ref start);
            builder.AddTo(a, CountRva, step);
            builder.Load(a, rax, CountRva);
            if (number != 1) a.xor(eax, eax);
            a.ret();
            a.nop(routineSize - (number == 1 ? 18 : 20));
        }
        builder.Assemble(".text", a =>
        {
            Routine(a, 0, 1);
            Routine(a, 1, 10);
            Routine(a, 2, 100);
        });
        builder.Section(".data", ImageBuilder.Data, new byte[8]);
        return builder.Exports(1, [("DllInitialize", Text), ("Add", Text + routineSize), ("DllUnload", Text + 2 * routineSize), ("Count", CountRva), .. more]);
    }

    const uint CountRva = 0x3000;

    /// <summary>A driver whose DriverEntry returns what an import returns and that can be unloaded.</summary>
    static ImageBuilder Importer(string module, string import)
    {
        ImageBuilder builder = new ImageBuilder().Imports((module, [import]));
        return builder.Assemble(".text", a =>
        {
            Label unload = a.CreateLabel();
            a.sub(rsp, 0x28);
            a.lea(rax, __[unload]);
            a.mov(__qword_ptr[rcx + 0x68], rax);
            builder.Call(a, import);
            a.add(rsp, 0x28);
            a.ret();
            a.Label(ref unload);
            a.ret();
        });
    }

    int Count(DriverImage library) => GuestMemory.Ref<int>(library.Base + CountRva);

    [Fact]
    public void An_export_driver_beside_the_driver_is_loaded_and_initialized_before_DriverEntry()
    {
        Write("Library.SYS", Library());
        DriverImage image = Read(Write("driver.sys", Importer("library.sys", "Add")));
        DriverImage library = Assert.Single(image.Dependencies);
        Assert.Equal("Library.SYS", library.File.Name);
        Assert.Equal(0, Count(library));
        Assert.Equal(11, (int)drivers.Start(image, out _));
    }

    [Fact]
    public void Two_drivers_share_an_export_driver_that_goes_with_the_second()
    {
        Write("library.sys", Library());
        DriverImage first = Read(Write("first.sys", Importer("library.sys", "Add")));
        DriverImage second = Read(Write("second.sys", Importer("LIBRARY.sys", "Add")));
        DriverImage library = first.Dependencies[0];
        Assert.Same(library, second.Dependencies[0]);
        Assert.Equal(11, (int)drivers.Start(first, out Driver? one));
        Assert.Equal(21, (int)drivers.Start(second, out Driver? two));
        Assert.True(drivers.Unload(one!));
        Assert.Equal(21, Count(library));
        Assert.True(drivers.Unload(two!));
        Assert.False(library.IsLoaded);
        Assert.Empty(drivers.Images);
    }

    [Fact]
    public void A_driver_whose_DllInitialize_fails_does_not_start()
    {
        ImageBuilder library = new ImageBuilder().Imports(("ntoskrnl.exe", ["DbgPrint"])).Assemble(".text", a =>
        {
            a.mov(eax, unchecked((int)NTSTATUS.STATUS_INSUFFICIENT_RESOURCES));
            a.ret();
        }).Exports(1, ("DllInitialize", Text), ("Add", Text));
        Write("library.sys", library);
        DriverImage image = Read(Write("driver.sys", Importer("library.sys", "Add")));
        Assert.Equal(NTSTATUS.STATUS_INSUFFICIENT_RESOURCES, drivers.Start(image, out Driver? driver));
        Assert.Null(driver);
        Assert.False(image.IsLoaded);
    }

    [Fact]
    public void Imports_from_a_driver_that_was_started_before_do_not_initialize_it_again()
    {
        ImageBuilder both = Library();
        Write("library.sys", both.EnterAt(Text + 32));
        DriverImage library = Read(Path.Combine(folder, "library.sys"));
        Assert.Equal(10, (int)drivers.Start(library, out Driver? started));
        DriverImage image = Read(Write("driver.sys", Importer("library.sys", "Add")));
        Assert.Equal(20, (int)drivers.Start(image, out Driver? driver));
        Assert.False(drivers.Unload(started!));
        Assert.True(drivers.Unload(driver!));
        Assert.True(library.IsLoaded);
    }

    [Fact]
    public void Exports_are_found_by_ordinal()
    {
        Write("library.sys", Library());
        DriverImage image = Read(Write("driver.sys", Importer("library.sys", "#2")));
        Assert.Empty(image.UnsupportedImports);
        Assert.Equal(11, (int)drivers.Start(image, out _));
    }

    [Theory]
    [InlineData("library.Add")]
    [InlineData("LIBRARY.#2")]
    [InlineData("NTOSKRNL.KeQueryInterruptTime")]
    public void Forwarders_lead_to_other_modules(string forwarder)
    {
        Write("library.sys", Library());
        Write("other.sys", Library(("Forwarded", forwarder)));
        if (forwarder.StartsWith("lib", StringComparison.OrdinalIgnoreCase)) Read(Path.Combine(folder, "library.sys"));
        DriverImage image = Read(Write("driver.sys", Importer("other.sys", "Forwarded")));
        Assert.Empty(image.UnsupportedImports);
        Assert.True(drivers.Start(image, out _) >= 0);
    }

    [Theory]
    [InlineData("other.Forwarded")]
    [InlineData("nothing.Add")]
    [InlineData("Add")]
    [InlineData("NTOSKRNL.NoSuchRoutine")]
    [InlineData("NTOSKRNL.#70000")]
    public void Forwarders_that_lead_nowhere_are_unsupported_imports(string forwarder)
    {
        Write("other.sys", Library(("Forwarded", forwarder)));
        DriverImage image = Read(Write("driver.sys", Importer("other.sys", "Forwarded")));
        Assert.Equal(["other.sys!Forwarded"], image.UnsupportedImports.Select(import => import.ToString()));
    }

    [Fact]
    public void Images_may_import_from_each_other()
    {
        ImageBuilder first = new ImageBuilder().Imports(("second.sys", ["Entry"])).Assemble(".text", a => a.ret());
        ImageBuilder second = new ImageBuilder().Imports(("first.sys", ["Entry"])).Assemble(".text", a => a.ret());
        Write("second.sys", second.Exports(1, ("Entry", Text)));
        DriverImage image = Read(Write("first.sys", first.Exports(1, ("Entry", Text))));
        Assert.Equal(2, drivers.Images.Count);
        Assert.All(drivers.Images, i => Assert.Empty(i.UnsupportedImports));
        Assert.Equal("second", Assert.Single(image.Dependencies).Name);
    }

    [Fact]
    public void What_an_export_driver_lacks_is_missing_for_its_importer_too()
    {
        ImageBuilder library = new ImageBuilder().Imports(("ntoskrnl.exe", ["NoSuchRoutine"])).Assemble(".text", a => a.ret());
        Write("library.sys", library.Exports(1, ("Add", Text)));
        DriverImage image = Read(Write("driver.sys", Importer("library.sys", "Add")));
        Assert.Empty(image.UnsupportedImports);
        Assert.Equal(["ntoskrnl.exe!NoSuchRoutine"], image.MissingImports.Select(import => import.ToString()));
        Assert.Equal(NTSTATUS.STATUS_DRIVER_ENTRYPOINT_NOT_FOUND, drivers.Start(image, out _));
    }

    [Theory]
    [InlineData("../driver2.sys")]
    [InlineData("*.sys")]
    [InlineData("/etc/passwd")]
    public void Module_names_reach_only_the_drivers_folder(string module)
    {
        Write("driver2.sys", Library());
        DriverImage image = Read(Write("driver.sys", Importer(module, "Add")));
        Assert.Equal([$"{module}!Add"], image.UnsupportedImports.Select(import => import.ToString()));
    }

    [Fact]
    public void ZwLoadDriver_starts_an_image_beside_the_calling_driver()
    {
        Write("library.sys", Library().EnterAt(Text + 32));
        ImageBuilder builder = new ImageBuilder().Imports(("ntoskrnl.exe", ["ZwLoadDriver"]));
        const string service = @"\Registry\Machine\System\CurrentControlSet\Services\library";
        DriverImage image = Read(Write("driver.sys", builder.Assemble(".text", a =>
        {
            Label text = a.CreateLabel();
            a.sub(rsp, 0x38);
            a.lea(rax, __[text]);
            a.mov(__dword_ptr[rsp + 0x20], service.Length * 2 << 16 | service.Length * 2);
            a.mov(__qword_ptr[rsp + 0x28], rax);
            a.lea(rcx, __[rsp + 0x20]);
            builder.Call(a, "ZwLoadDriver");
            a.add(rsp, 0x38);
            a.ret();
            a.Label(ref text);
            a.db(System.Text.Encoding.Unicode.GetBytes(service));
        })));
        Assert.Equal(10, (int)drivers.Start(image, out _));
        Assert.Equal(["library", "driver"], machine.Drivers.All.Select(driver => driver.Name).OrderDescending());
    }
}
