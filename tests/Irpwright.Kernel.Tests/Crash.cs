namespace Irpwright.Kernel.Tests;

/// <summary>Runs what must end in a bug check.</summary>
static class Crash
{
    public static BugCheckReport Of(Machine machine, Action scenario) =>
        Assert.Throws<BugCheckException>(() => machine.Run(scenario)).Report;

    public static BugCheckReport Of(Action<Machine> scenario)
    {
        using var machine = new Machine();
        return Of(machine, () => scenario(machine));
    }
}
