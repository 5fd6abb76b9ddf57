using Irpwright.Guest.Images;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Tests.Images;

/// <summary>Goal: what of a driver has run is known block by block.</summary>
public sealed class FunctionCodeTests
{
    static PortableExecutable Read(string name)
    {
        Assert.True(PortableExecutable.TryReadFile(SampleDrivers.PathOf(name), out PortableExecutable? image, out ImageDiagnostic? error), error?.ToString());
        return image;
    }

    [Fact]
    public void Blocks_begin_with_functions_and_lie_in_them()
    {
        PortableExecutable image = Read("queue");
        Assert.All(image.Functions, function => Assert.Contains(function.BeginAddress, image.Blocks));
        Assert.All(image.Blocks, block => Assert.NotNull(image.FunctionAt(block)));
        Assert.True(image.Blocks.Length > 2 * image.Functions.Length);
    }

    [Fact]
    public void Only_what_ran_counts_as_reached_also_when_the_driver_is_gone()
    {
        using var machine = new Machine(new MachineOptions { ChecksMemory = true });
        var guest = new GuestDrivers(machine);
        Assert.True(guest.TryRead(SampleDrivers.PathOf("queue"), out DriverImage? image, out ImageDiagnostic? error), error?.ToString());
        PortableExecutable file = image.File;
        Assert.Equal(NTSTATUS.STATUS_SUCCESS, guest.Start(image, out Driver? driver));
        uint[] loaded = Reached();
        RuntimeFunction entry = file.FunctionAt(file.EntryPoint)!.Value;
        Assert.Contains(entry.BeginAddress, loaded);
        // What DriverEntry does when it gets no device.
        Assert.Contains(file.Blocks, block => entry.Contains(block) && !loaded.Contains(block));
        Assert.True(guest.Unload(driver!));
        uint[] unloaded = Reached();
        Assert.True(unloaded.Length > loaded.Length);
        Assert.Subset(file.Blocks.ToHashSet(), unloaded.ToHashSet());

        uint[] Reached() => [.. guest.ReachedBlocks.Select(reached => reached.Block)];
    }

    [Fact]
    public void Limits_of_buffers_are_among_the_numbers_that_code_compares_with() =>
        Assert.Contains(65u, FunctionCode.ComparedNumbers(Read("broken-overrun"), 4096));
}
